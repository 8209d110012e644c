"""`initlab list`, and `last` and beginnings of ids wherever a run or a study is named."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from initlab.errors import UnknownNameError
from initlab.tracking import resolve
from tests.cli.driver import initlab

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("list")]

SMALL = ("data=digits", "model=mlp", "model.width=16", "trainer.max_steps=2", "tracking.report=false")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a run, a study, and a run again."""
    place = tmp_path_factory.mktemp("list")
    for arguments in (
        ("init=he", *SMALL),
        ("-m", "init=he,xavier", "replicas=2", "study.name=grid", *SMALL),
        ("init=orthogonal", *SMALL),
    ):
        done = initlab(*arguments, cwd=place)
        assert done.returncode == 0, done.stderr
    return place


def listed(folder: Path, *arguments: str) -> dict[str, Any]:
    done = initlab("list", "--json", *arguments, cwd=folder)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return json.loads(done.stdout)


def types_of(command: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert command.returncode == 0 and command.stderr == "", command.stderr
    found = json.loads(command.stdout)
    assert found["schema"] == 1
    return found


def test_nothing_yet(tmp_path: Path) -> None:
    done = initlab("list", cwd=tmp_path)
    assert done.returncode == 0 and "no runs in mlflow.db yet" in done.stdout and "Next: " in done.stdout
    assert list(tmp_path.iterdir()) == [], "looking makes no store"
    assert listed(tmp_path)["entries"] == []


def test_runs_and_studies_newest_first(folder: Path) -> None:
    done = initlab("list", cwd=folder)
    assert done.returncode == 0, done.stderr
    head, last, study, first, end = done.stdout.splitlines()
    assert head.split() == ["id", "kind", "name", "status", "verdict", "score", "age"]
    assert "orthogonal-relu-mlp-digits-s0" in last and "finished" in last and "test accuracy 0." in last
    assert "grid (4 runs)" in study and "best val accuracy 0." in study
    assert "he-relu-mlp-digits-s0" in first and first.split()[-1] in ("s", "min")
    assert max(map(len, done.stdout.splitlines())) <= 150
    entries = listed(folder)["entries"]
    assert [e["kind"] for e in entries] == ["run", "study", "run"]
    assert [e["id"][:8] for e in entries] == [line.split()[0] for line in (last, study, first)]
    assert entries[1]["name"] == "grid" and entries[1]["runs"] == 4 and entries[1]["metric"] == "val/accuracy"
    assert entries[0]["started_ms"] > entries[1]["started_ms"] > entries[2]["started_ms"]
    # the last line is a command that runs
    follow = end.removeprefix("Next: python -m initlab ").split("   (")[0].split()
    assert initlab(*follow, cwd=folder).returncode == 0


def test_rows_and_the_runs_of_a_study(folder: Path) -> None:
    short = initlab("list", "rows=1", cwd=folder)
    assert "… 2 more (rows=3 lists all)" in short.stdout
    for name in ("grid", "gr", "last"):
        of_study = listed(folder, f"study={name}")
        assert of_study["study"] == "grid" and [e["study"] for e in of_study["entries"]] == ["grid"] * 4
    wrong = initlab("list", "study=gird", cwd=folder)
    assert wrong.returncode == 2 and "did you mean grid?" in wrong.stderr and wrong.stdout == ""


@pytest.mark.parametrize(
    "command",
    ["compare study=last", "compare study=g", "explain study=last", "export study=last to=sent", "worker study=last"],
)
def test_a_study_by_last_or_a_beginning(folder: Path, command: str) -> None:
    done = initlab(*command.split(), cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "grid" in done.stdout.splitlines()[0]
    assert done.stdout.splitlines()[-1].startswith(("Next: python -m initlab ", "kept under"))


def test_a_run_by_last_or_a_beginning(folder: Path) -> None:
    run = listed(folder)["entries"][0]["id"]
    for asked in ("last", run[:8], run[:12]):
        told = types_of(initlab("explain", f"run={asked}", "--json", cwd=folder))
        assert told["run"] == run and told["status"] == "finished"
    resumed = initlab(f"resume={run[:8]}", cwd=folder)
    assert resumed.returncode == 0 and f"resume={run[:8]}: it finished after" in resumed.stderr, resumed.stderr
    wrong = initlab("resume=zzzzzzzz", cwd=folder)
    assert wrong.returncode == 2 and "no such run" in wrong.stderr
    assert len(listed(folder)["entries"]) == 3


def test_beginnings_that_name_several() -> None:
    known = {"abcd1234": "second", "abcd9999": "first", "ff": ""}
    assert resolve("last", known, key="run") == "abcd1234"
    assert resolve("abcd12", known, key="run") == "abcd1234"
    assert resolve("ff", known, key="run") == "ff"
    assert resolve("nothing", known, key="run") == "nothing"
    assert resolve("abc", known, key="run", shortest=4) == "abc", "too short to be the beginning of an id"
    with pytest.raises(UnknownNameError, match=r"run=abcd: is the beginning of 2: abcd1234 \(second\), abcd9999"):
        resolve("abcd", known, key="run")


def test_compare_as_json(folder: Path) -> None:
    found = types_of(initlab("compare", "study=grid", "--json", cwd=folder))
    (task,) = found["tasks"]
    assert task["metric"] == "val/accuracy" and task["direction"] == "maximize" and task["keys"] == ["init"]
    assert [a["rank"] for a in task["arms"]] == [1, 2]
    assert {a["arm"] for a in task["arms"]} == {"init=he", "init=xavier"}
    ids = {e["id"] for e in listed(folder, "study=grid")["entries"]}
    assert {i for a in task["arms"] for i in a["runs"].values()} == ids
    assert task["arms"][0]["mean"] >= task["arms"][1]["mean"] and task["arms"][0]["low"] < task["arms"][0]["high"]


def test_explain_a_study_as_json(folder: Path) -> None:
    found = types_of(initlab("explain", "study=grid", "--json", cwd=folder))
    assert found["study"] == "grid" and found["lines"] and found["next"] == "python -m initlab compare study=grid"


def test_advise_as_json_and_in_words_end_with_the_same_command(folder: Path) -> None:
    network = ("data=digits", "model=mlp", "model.width=16", "activation=tanh", "tracking=none")
    found = types_of(initlab("advise", *network, "--json", cwd=folder))
    assert found["init"] in {o["init"] for o in found["options"]} and found["confidence"] in ("high", "medium", "low")
    told = initlab("advise", *network, cwd=folder)
    assert told.stderr == "" and told.stdout.splitlines()[-1] == f"Next: {found['next']}"
    assert found["next"].startswith("python -m initlab data=digits model=mlp")


def test_doctor_as_json_has_the_same_checks_and_exit_code(folder: Path) -> None:
    told = initlab("doctor", cwd=folder)
    asked = initlab("doctor", "--json", cwd=folder)
    assert asked.returncode == told.returncode
    found = json.loads(asked.stdout)
    lines = [line for line in told.stdout.splitlines() if line.split()[0] in ("ok", "warning", "problem")]
    assert [c["subject"] for c in found["checks"]] == [line.split()[1] for line in lines]
    assert found["problems"] == sum(c["level"] == "problem" for c in found["checks"])


def test_an_error_leaves_stdout_empty(folder: Path) -> None:
    done = initlab("compare", "study=nope", "--json", cwd=folder)
    assert done.returncode == 2 and done.stdout == "" and "no such study" in done.stderr


def test_commands_end_with_what_to_do_next(folder: Path) -> None:
    for command in ("compare study=grid", "worker study=grid", "data", "data digits", "explain study=grid"):
        done = initlab(*command.split(), cwd=folder)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1].startswith("Next: python -m initlab "), command
