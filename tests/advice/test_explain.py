"""`explain` on networks that are ill, on networks that are well, and on what cannot be explained."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from initlab import config, tracking
from initlab.advice import explain
from initlab.advice.explain.attempt import FOLLOWS, follow_up
from initlab.advice.explain.recorded import Recorded
from initlab.advice.explain.story import learned_fraction, trains
from initlab.errors import ConfigError, UnknownNameError
from initlab.run.train import run
from initlab.spec import Remedy, TrackingSettings
from tests.cli.driver import initlab, training, wait_for

pytestmark = pytest.mark.process

TINY = "data=mnist_mini model=mlp model.width=64 tracking.report=false trainer.checkpoint=false"
ILL = {
    "init=zeros trainer.epochs=1": "symmetric_units",
    "optimizer=sgd optimizer.lr=10 trainer.epochs=2": "updates_too_large",
    "model.depth=3 init.bias=-5 trainer.epochs=1": "born_dead",
}
WELL = (
    "trainer.epochs=2",
    "model.depth=8 activation=tanh init=xavier optimizer=sgd trainer.epochs=3",
    "activation=sigmoid init=xavier trainer.epochs=4",
)


def told_of(workdir: Path, text: str) -> tuple[Recorded, TrackingSettings]:
    overrides = [*TINY.split(), *text.split()]
    experiment = config.experiment(config.compose(overrides), overrides=overrides)
    result = run(experiment, workdir=workdir)
    found = tracking.find_run(result.run_id, experiment.tracking, workdir=workdir)
    return explain.read_recorded(found), experiment.tracking


@pytest.mark.parametrize(("text", "cause"), ILL.items())
def test_the_cause_is_named_and_its_first_remedy_trains(tmp_path: Path, text: str, cause: str) -> None:
    told, settings = told_of(tmp_path, text)
    found = explain.explain_run(told.evidence)
    assert found.cause is not None and found.cause.name == cause and found.outcome == "lost"
    words = "\n".join(explain.format_explanation(told, found, ["python -m initlab this"]))
    assert "It did not train because" in words and "Try: python -m initlab this" in words
    for part in ("evidence", "rule", "theory", "source", "remedy"):
        assert f"\n  {part}" in words
    (attempt,) = explain.try_remedies(told, found, settings, workdir=tmp_path)
    assert attempt.verdict == "helped" and attempt.remedy == found.remedies[0]
    assert attempt.evidence is not None and trains(attempt.evidence) and cause in attempt.gone
    assert learned_fraction(attempt.evidence) > learned_fraction(told.evidence)
    followed = tracking.find_run(attempt.run_id, settings, workdir=tmp_path)
    assert followed.tags[FOLLOWS] == told.run.run_id and followed.experiment == told.run.experiment
    said = explain.format_attempts([attempt], told.evidence)
    assert "It helped" in said[0] and cause in said[-1] + said[-2]


@pytest.mark.parametrize("text", WELL)
def test_no_alarm_where_nothing_is_wrong(tmp_path: Path, text: str) -> None:
    told, _ = told_of(tmp_path, text)
    found = explain.explain_run(told.evidence)
    assert trains(told.evidence)
    assert found.outcome == "healthy" and found.cause is None and not found.remedies
    assert "Nothing is wrong" in "\n".join(explain.format_explanation(told, found, []))


def test_what_was_said_and_measured_is_read_back_as_it_was_judged(tmp_path: Path) -> None:
    overrides = [*TINY.split(), "model.depth=12", "init=normal", "init.std=0.01", "trainer.epochs=1"]
    experiment = config.experiment(config.compose(overrides), overrides=overrides)
    result = run(experiment, workdir=tmp_path)
    told = explain.read_recorded(tracking.find_run(result.run_id[:9], experiment.tracking, workdir=tmp_path))
    last = explain.read_recorded(tracking.find_run("last", experiment.tracking, workdir=tmp_path))
    assert last.run.run_id == told.run.run_id == result.run_id
    from initlab.diagnosis import rules

    assert rules.judge(told.evidence) == result.findings
    assert len(told.layers) == 12 and told.outlook == "untrainable"
    # theory and measurement agree on how fast the gradient vanishes, within a factor of 10 over 12 layers
    assert abs(told.layers[0].gradient_said - told.layers[0].gradient) < 1


def test_a_follow_up_has_the_run_s_own_data_seed_and_budget(tmp_path: Path) -> None:
    told, settings = told_of(tmp_path, "init=normal init.std=1 trainer.epochs=1 trainer.batch_size=256 seed=3")
    made = follow_up(told, Remedy(overrides=("init=he", "optimizer.lr=0.01"), why=""), settings)
    before = told.evidence.params
    changed = {k for k in {*before, *made.params} if before.get(k) != made.params.get(k)}
    assert made.seed == 3 and changed and all(k.split(".")[0] == "init" or k == "optimizer.lr" for k in changed)
    assert "init.std" not in made.params
    assert [o for o in made.overrides if o.startswith("init")] == ["init=he"]


def test_a_remedy_that_cannot_be_run_is_told_and_the_next_one_is_tried(tmp_path: Path) -> None:
    told, settings = told_of(tmp_path, "init=zeros trainer.epochs=1")
    found = explain.explain_run(told.evidence)
    bad = Remedy(overrides=("init=fixup",), why="")
    found = type(found)(outcome=found.outcome, cause=found.cause, others=(), remedies=(bad, *found.remedies))
    first, second = explain.try_remedies(told, found, settings, workdir=tmp_path)
    assert first.error and not first.run_id and second.verdict == "helped"


# ------------------------------------------------------------------ the command
def test_the_command_explains_and_tries(tmp_path: Path) -> None:
    arguments = [*TINY.split(), "init=zeros", "trainer.epochs=1"]
    assert initlab(*arguments, cwd=tmp_path).returncode == 0
    done = initlab("explain", "run=last", "--try", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "It did not train because all units of a layer are copies of one another." in done.stdout
    assert "init=he: It helped" in done.stdout
    again = initlab("explain", "run=last", "try=true", cwd=tmp_path)
    assert again.returncode == 0 and "There is nothing to try." in again.stdout


@pytest.mark.parametrize(
    "broken",
    ["init=zeros trainer.epochs=1", "model.depth=20 init=normal init.std=0.01 trainer.epochs=1", "trainer.max_steps=3"],
)
def test_the_command_that_it_prints_runs(tmp_path: Path, broken: str) -> None:
    assert initlab(*TINY.split(), *broken.split(), cwd=tmp_path).returncode == 0
    done = initlab("explain", "run=last", cwd=tmp_path)
    text = " ".join(done.stdout.split())
    (proposed,) = re.findall(r"Try: python -m initlab (.+?)(?: Cause:| \(| Before the first|$)", text)
    again = initlab(*shlex.split(proposed), "tracking.report=false", cwd=tmp_path)
    assert again.returncode == 0, (proposed, again.stderr)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "name one run or one study"),
        (["run=a", "study=b"], "name one run or one study"),
        (["run=last", "init=he"], "takes no such option"),
        (["run=last", "try=perhaps"], "must be true or false"),
        (["study=b", "--try"], "tries a remedy of one run"),
        (["run=last"], "no store here yet"),
        (["study=b"], "no store here yet"),
        (["run=last", "tracking=none"], "nothing to read without a store"),
        (["run=last", "tracking.uri=http://127.0.0.1:9"], "did not answer"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path: Path, arguments: list[str], words: str) -> None:
    done = initlab("explain", *arguments, cwd=tmp_path)
    assert done.returncode == 2 and words in done.stderr and len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "mlflow.db").exists()


def test_unknown_runs_running_runs_and_runs_without_a_profile(tmp_path: Path) -> None:
    told, settings = told_of(tmp_path, "trainer.epochs=1")
    with pytest.raises(UnknownNameError, match=f"no such run.*{told.run.run_id}"):
        tracking.find_run("nothing", settings, workdir=tmp_path)
    inspected = initlab("inspect", *TINY.split(), cwd=tmp_path)
    run_id = next(w for line in inspected.stdout.splitlines() if line.startswith("Run ") for w in line.split()[1:2])
    with pytest.raises(ConfigError, match="inspected, not trained"):
        explain.read_recorded(tracking.find_run(run_id, settings, workdir=tmp_path))
    long = [*TINY.split(), "trainer.epochs=400", "tracking.flush_seconds=0.2"]
    with training(*long, cwd=tmp_path) as process:
        wait_for(lambda: _runs(tmp_path, "initlab.status", "running"), process=process)
        (running,) = _runs(tmp_path, "initlab.status", "running")
        with pytest.raises(ConfigError, match="is still running"):
            explain.read_recorded(tracking.find_run(running, settings, workdir=tmp_path))
    # as an older initlab, or a run that broke early, left it
    for file in (tmp_path / "mlruns").rglob("profile.parquet"):
        file.unlink()
    with pytest.raises(ConfigError, match=r"has no profile\.parquet"):
        explain.read_recorded(tracking.find_run(told.run.run_id, settings, workdir=tmp_path))


def _runs(folder: Path, key: str, value: str) -> list[str]:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        found = database.execute("SELECT run_uuid FROM tags WHERE key = ? AND value = ?", (key, value))
        return [str(row[0]) for row in found]
