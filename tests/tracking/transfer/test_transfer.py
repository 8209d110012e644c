"""Studies between stores: every row arrives once, whatever is interrupted, and nothing in a folder is trusted."""

from __future__ import annotations

import json
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from initlab.errors import ConfigError
from initlab.spec import TrackingSettings
from initlab.tracking import export_study, import_runs
from initlab.tracking.transfer.format import is_safe
from tests.cli.driver import environment, initlab
from tests.cli.forkserver import Forked
from tests.tracking.tracking_cases import Gate, Server, rows

# the exported folder is made once
pytestmark = [pytest.mark.process, pytest.mark.xdist_group("transfer")]

TINY = (
    "data=digits", "data.limit=200", "model=mlp", "model.width=16", "trainer.epochs=2", "tracking.report=false",
    "probes=none",
)  # fmt: skip
RUNS = 5


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a study of two arms and two seeds in its own store, exported to `out`."""
    folder = tmp_path_factory.mktemp("origin")
    done = initlab("-m", *TINY, "init=he,xavier", "replicas=2", "study.name=moved", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    exported = initlab("export", "study=moved", "to=out", cwd=folder)
    assert exported.returncode == 0 and f"{RUNS} runs" in exported.stdout, exported.stderr
    return folder


@pytest.fixture
def parcel(home: Path, tmp_path: Path) -> Path:
    """A copy of the exported folder, to be spoiled."""
    return Path(shutil.copytree(home / "out", tmp_path / "parcel"))


def content(database: Path, ids: dict[str, str]) -> dict[str, Any]:
    """Rows of the runs `ids` (id there → name for it here), as they are the same in every store."""
    found: dict[str, Any] = {}
    for run_id, name in ids.items():
        tags = dict(rows(database, "SELECT key, value FROM tags WHERE run_uuid = ?", run_id))
        parent = tags.pop("mlflow.parentRunId", None)
        for key in ("initlab.origin", "initlab.imported"):
            tags.pop(key, None)
        found[name] = {
            "tags": tags,
            "parent": ids.get(str(parent)),
            "params": dict(rows(database, "SELECT key, value FROM params WHERE run_uuid = ?", run_id)),
            "metrics": Counter(
                rows(database, "SELECT key, value, timestamp, step FROM metrics WHERE run_uuid = ?", run_id)
            ),
            "run": rows(database, "SELECT name, status, start_time, end_time FROM runs WHERE run_uuid = ?", run_id),
            "data": rows(
                database, "SELECT d.name, d.digest, d.dataset_source, d.dataset_profile FROM inputs i JOIN datasets d"
                " ON d.dataset_uuid = i.source_id WHERE i.destination_id = ?", run_id,
            ),
        }  # fmt: skip
    return found


def origins(database: Path, study: str = "moved") -> dict[str, str]:
    """Id here → former id."""
    return dict(
        rows(
            database, "SELECT o.run_uuid, o.value FROM tags o JOIN tags s USING (run_uuid) WHERE o.key ="
            " 'initlab.origin' AND s.key = 'initlab.study' AND s.value = ?", study,
        )
    )  # type: ignore[return-value]  # fmt: skip


def own(home: Path) -> dict[str, str]:
    return {str(i): str(i) for (i,) in rows(home / "mlflow.db", "SELECT run_uuid FROM runs")}


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_every_row_and_file_arrives_once(home: Path, server: Server, tmp_path: Path) -> None:
    settings = TrackingSettings(uri=server.uri)
    done = import_runs(home / "out", settings, workdir=tmp_path)
    assert (done.added, done.known) == (RUNS, 0)
    here = origins(server.database)
    wanted = content(home / "mlflow.db", own(home))
    assert content(server.database, here) == wanted
    assert sum(p["parent"] is not None for p in wanted.values()) == RUNS - 1
    assert done.points == sum(sum(p["metrics"].values()) for p in wanted.values()) > 0

    again = import_runs(home / "out", settings, workdir=tmp_path)
    assert (again.added, again.known, again.points) == (0, RUNS, 0)
    assert content(server.database, here) == wanted and origins(server.database) == here

    # and back: what is exported there is what was exported here, but for the ids
    runs, points = export_study("moved", settings, workdir=tmp_path, to=tmp_path / "back")
    assert (runs, points) == (RUNS, done.points)
    for run_id, former in here.items():
        there = files(tmp_path / "back" / "runs" / run_id)
        first = files(home / "out" / "runs" / former)
        assert {k: v for k, v in there.items() if k != "run.json"} == {
            k: v for k, v in first.items() if k != "run.json"
        }
    assert import_runs(home / "out", settings, workdir=tmp_path, name="renamed").added == RUNS
    assert len(origins(server.database, "renamed")) == RUNS


def test_an_import_that_loses_contact_goes_on(home: Path, gate: Gate, server: Server, tmp_path: Path) -> None:
    gate.open()
    settings = TrackingSettings(uri=gate.uri)

    def shut(line: str) -> None:
        if line.startswith("2/"):
            gate.shut()

    with pytest.raises(ConfigError, match="did not answer; the same command continues it"):
        import_runs(home / "out", settings, workdir=tmp_path, name="cut", say=shut)
    assert len(origins(server.database, "cut")) < RUNS
    gate.open()
    done = import_runs(home / "out", settings, workdir=tmp_path, name="cut")
    assert (done.added, done.known) == (RUNS - 2, 2)
    whole(home, server.database, "cut")


@pytest.mark.parametrize("seconds", [2.4])
def test_an_import_that_is_killed_goes_on(home: Path, tmp_path: Path, seconds: float) -> None:
    command = [sys.executable, "-m", "initlab", "import", f"from={home / 'out'}"]
    process = Forked(command, cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL)
    time.sleep(seconds)  # somewhere in the middle, or before, or after
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    done = initlab("import", f"from={home / 'out'}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Optuna's record" in done.stdout
    whole(home, tmp_path / "mlflow.db", "moved")
    again = initlab("import", f"from={home / 'out'}", cwd=tmp_path)
    assert f"0 runs added, {RUNS} already there" in again.stdout and "0 trials added" in again.stdout
    compared = initlab("compare", "study=moved", cwd=tmp_path)
    assert compared.returncode == 0 and "2 arms, 4 runs" in compared.stdout


def whole(home: Path, database: Path, study: str) -> None:
    wanted = content(home / "mlflow.db", own(home))
    for run in wanted.values():
        run["tags"]["initlab.study"] = study
    assert content(database, origins(database, study)) == wanted


def test_a_newer_export_brings_what_is_new(home: Path, parcel: Path, tmp_path: Path) -> None:
    settings = TrackingSettings(uri="sqlite:///other.db")
    import_runs(home / "out", settings, workdir=tmp_path)
    first = json.loads((parcel / "export.json").read_text())["runs"][0]
    with (parcel / "runs" / first / "metrics.jsonl").open("a") as lines:
        lines.write('["late", 0.5, 1700000000000, 7]\n')
    done = import_runs(parcel, settings, workdir=tmp_path)
    assert (done.added, done.known) == (1, RUNS - 1)
    assert rows(tmp_path / "other.db", "SELECT value, step FROM metrics WHERE key = 'late'") == [(0.5, 7)]


def test_another_study_of_that_name(home: Path, parcel: Path, tmp_path: Path) -> None:
    settings = TrackingSettings(uri="sqlite:///mlflow.db")
    import_runs(home / "out", settings, workdir=tmp_path)
    # the same name, other runs
    told = json.loads((parcel / "export.json").read_text())
    for former in told["runs"]:
        (parcel / "runs" / former).rename(parcel / "runs" / former[::-1])
        file = parcel / "runs" / former[::-1] / "run.json"
        file.write_text(file.read_text().replace(former, former[::-1]))
    _manifest(parcel, runs=[former[::-1] for former in told["runs"]])
    with pytest.raises(ConfigError, match="as=NAME"):
        import_runs(parcel, settings, workdir=tmp_path)
    assert import_runs(parcel, settings, workdir=tmp_path, name="second").added == RUNS


# ------------------------------------------------------------------ folders that lie
def _first(parcel: Path) -> Path:
    return next(p for p in sorted((parcel / "runs").iterdir()) if not p.name.startswith("."))


def _manifest(parcel: Path, **changes: object) -> None:
    told = json.loads((parcel / "export.json").read_text())
    (parcel / "export.json").write_text(json.dumps({**told, **changes}))


def _linked(parcel: Path) -> None:
    (_first(parcel) / "artifacts" / "secret").symlink_to("/etc/hostname")


def _pickled(parcel: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (parcel.parent / "canary",)

    (_first(parcel) / "run.json").write_bytes(pickle.dumps(Bomb()))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda p: _manifest(p, runs=["../../../etc"]), "is no id"),
        (lambda p: _manifest(p, runs=[5]), "is no id"),
        (lambda p: _manifest(p, runs=["f" * 32]), "cannot be read"),
        (lambda p: _manifest(p, runs="all"), "is damaged"),
        (lambda p: _manifest(p, format=99), "update initlab"),
        (lambda p: (p / "export.json").write_text("[" * 100_000), "cannot be read"),
        (lambda p: (p / "export.json").unlink(), "holds no export.json"),
        (lambda p: (_first(p) / "run.json").write_text('{"run_id": "x"}'), "is damaged"),
        (lambda p: (_first(p) / "metrics.jsonl").write_text('["a", "much", 1, 2]\n'), "line 1 is no metric"),
        (lambda p: (_first(p) / "metrics.jsonl").unlink(), "is not there"),
        (_linked, "is a link"),
        (_pickled, "cannot be read"),
    ],
)
def test_a_folder_that_lies(parcel: Path, tmp_path: Path, spoil: Callable[[Path], object], words: str) -> None:
    spoil(parcel)
    before = {p for p in tmp_path.rglob("*") if parcel not in p.parents}
    with pytest.raises(ConfigError, match=words):
        import_runs(parcel, TrackingSettings(uri="sqlite:///mlflow.db"), workdir=tmp_path)
    assert {p for p in tmp_path.rglob("*") if parcel not in p.parents} == before


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("config.yaml", True), ("figures/a b.png", True), ("..hidden/x", True), ("", False), ("/etc/passwd", False),
        ("../up", False), ("a/../../up", False), ("a\\..\\up", False), ("C:evil", False), ("a\0b", False),
    ],
)  # fmt: skip
def test_names_of_artifacts(name: str, safe: bool) -> None:
    assert is_safe(name) == safe


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("export", "study=moved"), "to: name a study and a folder"),
        (("export", "to=x"), "study: name a study and a folder"),
        (("export", "study=nosuch", "to=x"), "no such study in mlflow.db; choose from moved"),
        (("export", "study=mo'ved", "to=x"), "must not contain quotes"),
        (("export", "study=moved", "to=."), "is not empty and not an export"),
        (("export", "study=moved", "to=mlflow.db"), "is a file"),
        (("export", "study=moved", "too=x"), "did you mean to?"),
        (("import",), "from: name a folder"),
        (("import", "from=nosuch"), "holds no export.json"),
        (("import", "from=out", "as=a/b"), "may hold letters"),
    ],
)
def test_wrong_words(home: Path, words: tuple[str, ...], told: str) -> None:
    before = set(home.iterdir())
    done = initlab(*words, cwd=home)
    assert done.returncode == 2 and told in done.stderr, done.stdout + done.stderr
    assert len(done.stderr.splitlines()) == 1 and set(home.iterdir()) == before
