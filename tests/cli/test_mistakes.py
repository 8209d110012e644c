"""Typing mistakes: each gets one or two lines with what to type, exit code 2, and leaves nothing behind.

The table is `mistakes.txt`. Every line is typed in this process: no answer needs torch to train or a store to be made.
"""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from initlab.cli.main import main

TABLE = [
    tuple(part.strip() for part in line.split("  =>  "))
    for line in (Path(__file__).parent / "mistakes.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]
#: accepted, with a line on stderr; --cfg job shows what would run
WARNED = [
    ("init=He", "init=He is read as init=he", "initlab.inits.he"),
    ("init=XAVIER", "init=XAVIER is read as init=xavier", "initlab.inits.xavier"),
    ("TASK=text", "TASK=text is read as task=text", "initlab.tasks.text"),
    ("device=CPU", "device=CPU is read as device=cpu", "device: cpu"),
    ("Trainer.Epochs=3", "Trainer.Epochs=3 is read as trainer.epochs=3", "epochs: 3"),
    ("+foo=1", "nothing of initlab reads this key", "foo: 1"),
    ("init=he init=xavier", "init is given twice (he, xavier); the last one counts", "initlab.inits.xavier"),
    ("optimizer.lr=0.1 optimizer.lr=0.2", "optimizer.lr is given twice (0.1, 0.2)", "lr: 0.2"),
    ("replicas=3", "Add -m to train 3 seeds: initlab -m replicas=3", "replicas: 3"),
    ("study=tpe", "Add -m and several values: -m init=he,xavier", "sampler: tpe"),
    ("study.trials=3", "Add -m and several values: -m init=he,xavier", "trials: 3"),
    ("data.val_fraction=0.9", "holds out 90% of the examples", "val_fraction: 0.9"),
]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to type in; what a command sets in its own process is put back."""
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig

    (tmp_path / "file").write_text("x")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["initlab"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    for name in ("MLFLOW_TRACKING_URI", "INITLAB_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    yield tmp_path
    for number, handler in handlers.items():
        signal.signal(number, handler)
    GlobalHydra.instance().clear()
    HydraConfig.instance().cfg = None


def type_in(line: str) -> int | str | None:
    try:
        return main(shlex.split(line))
    except SystemExit as end:
        return end.code


#: rows of the table that compose in a process of their own
_IN_A_PROCESS = ("-m init=he,xavier replicas=0",)


@pytest.mark.parametrize(
    ("line", "answer"),
    [pytest.param(*row, marks=[pytest.mark.process] if row[0] in _IN_A_PROCESS else []) for row in TABLE],
    ids=[line for line, _ in TABLE],
)
def test_a_mistake_is_answered(line: str, answer: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert type_in(line) == 2
    said = capsys.readouterr()
    assert said.out == ""
    lines = said.err.splitlines()
    assert 1 <= len(lines) <= 2 and all(text.startswith("initlab: ") for text in lines), said.err
    assert answer in lines[-1], said.err
    assert "Traceback" not in said.err and "Error:" not in said.err
    assert [p.name for p in here.rglob("*")] == ["file"], "nothing was made"


@pytest.mark.parametrize(("line", "answer", "runs"), WARNED, ids=[row[0] for row in WARNED])
def test_a_warning_stands_and_the_command_goes_on(
    line: str, answer: str, runs: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert type_in(f"{line} --cfg job") == 0
    said = capsys.readouterr()
    (warning,) = said.err.splitlines()
    assert warning.startswith("initlab: ") and answer in warning
    assert runs in said.out


@pytest.mark.parametrize(
    "line",
    [
        "init=he", "-m init=he,xavier", "init.gain=2", "init=uniform init.a=0.1", "model=mlp model.depth=30",
        "init=by_role init.recurrent=he(gain=2)", "activation=expr activation.f=x*tanh(x)", "hydra.verbose=true",
            "+study.note=x",
        "optimizer=sgd optimizer.momentum=0.9", "data=npz data.path=x.npz", "'tracking.tags={team: vision}'",
        "model._target_=mypkg.Net model.width=64", "experiment=adding_lstm model.hidden_size=8",
        "--config-dir here init=mine", "study.conditions={init.gain:{init:[he]}} init.gain=1,2", "trainer=quick",
    ],
)  # fmt: skip
def test_what_is_right_is_left_alone(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    from initlab.cli.corrections import correct
    from initlab.cli.help import options_of
    from initlab.cli.table import COMMANDS

    words = shlex.split(f"{line} -m")  # of a study, so that a key of one gives no warning
    assert correct(COMMANDS["train"], words, options_of(COMMANDS["train"]), COMMANDS) == words
    assert capsys.readouterr().err == ""


def test_the_table_is_long_and_of_every_command() -> None:
    from initlab.cli.table import COMMANDS

    first = {line.split()[0] for line, _ in TABLE}
    assert len(TABLE) >= 193 and len({line for line, _ in TABLE}) == len(TABLE)
    assert set(COMMANDS) <= first
