"""Two imports of one study at once: from one folder, from copies of it, into a file and into a server."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import optuna
import pytest

from tests.cli.driver import environment, initlab
from tests.cli.forkserver import Forked
from tests.tracking.tracking_cases import Server, rows

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("transfer"), pytest.mark.timeout(200)]
TINY = (
    "data=digits", "data.limit=200", "model=mlp", "model.width=16", "trainer.epochs=2", "tracking.report=false",
    "probes=none",
)  # fmt: skip
RUNS = 7


@pytest.fixture(scope="module")
def parcel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported study of two arms and three seeds."""
    folder = tmp_path_factory.mktemp("origin")
    done = initlab("-m", *TINY, "init=he,xavier", "replicas=3", "study.name=moved", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert initlab("export", "study=moved", "to=out", cwd=folder).returncode == 0
    return folder / "out"


def begun(source: Path, cwd: Path, *more: str) -> subprocess.Popen[str]:
    return Forked(
        [sys.executable, "-m", "initlab", "import", f"from={source}", *more], cwd=cwd, env=environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def there(database: Path, study: str) -> Counter[tuple[object, ...]]:
    """How often each run is there, with its state and number of points."""
    return Counter(
        (origin, status, rows(database, "SELECT count(*) FROM metrics WHERE run_uuid = ?", run)[0][0])
        for run, status, origin in rows(
            database, "SELECT r.run_uuid, r.status, o.value FROM runs r JOIN tags o ON o.run_uuid = r.run_uuid"
            " JOIN tags s ON s.run_uuid = r.run_uuid WHERE o.key = 'initlab.origin' AND s.key = 'initlab.study'"
            " AND s.value = ? AND r.lifecycle_stage = 'active'", study,
        )
    )  # fmt: skip


def once(parcel: Path) -> Counter[tuple[object, ...]]:
    return Counter(
        (f.name, "FINISHED", len((f / "metrics.jsonl").read_text().splitlines())) for f in (parcel / "runs").iterdir()
    )


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("into", ["file", "server"])
def test_copies_of_a_folder_into_one_store(into: str, count: int, parcel: Path, tmp_path: Path, server: Server) -> None:
    copies = [Path(shutil.copytree(parcel, tmp_path / f"copy{n}")) for n in range(count)]
    name = f"{into}{count}"
    more = [f"as={name}", *([f"tracking.uri={server.uri}"] if into == "server" else [])]
    both = [begun(c, tmp_path, *more) for c in copies]
    said = [one.communicate(timeout=150)[0] for one in both]
    assert [one.returncode for one in both] == [0] * count, said
    database = server.database if into == "server" else tmp_path / "mlflow.db"
    assert there(database, name) == once(parcel)
    again = initlab("import", f"from={copies[0]}", *more, cwd=tmp_path)
    assert f"0 runs added, {RUNS} already there" in again.stdout, again.stdout + again.stderr
    record = optuna.load_study(study_name=name, storage=f"sqlite:///{tmp_path}/.initlab/studies.db")
    assert [t.number for t in record.get_trials()] == [0, 1]


def test_one_folder_twice_is_refused_in_words(parcel: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(parcel, tmp_path / "copy"))
    both = [begun(source, tmp_path) for _ in range(2)]
    said = [one.communicate(timeout=150)[0] for one in both]
    for one, text in zip(both, said, strict=True):
        assert one.returncode == 0 or (one.returncode == 2 and "another process is importing it" in text), said
    assert there(tmp_path / "mlflow.db", "moved") == once(parcel)


def test_a_folder_that_cannot_be_written_to(parcel: Path, tmp_path: Path) -> None:
    """As on a disk that others share for reading."""
    source = Path(shutil.copytree(parcel, tmp_path / "copy"))
    (source / ".lock").unlink(missing_ok=True)
    mounted = subprocess.run(
        ["mount", "--bind", "-o", "ro", str(source), str(source)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("mounting is not permitted here")
    try:
        done = initlab("import", f"from={source}", cwd=tmp_path)
    finally:
        subprocess.run(["umount", "-l", str(source)], check=True)
    assert done.returncode == 0, done.stderr
    assert there(tmp_path / "mlflow.db", "moved") == once(parcel)
