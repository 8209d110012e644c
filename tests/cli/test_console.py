"""What a terminal shows: epochs above the progress bar, doubtful settings, a tracker that does not answer."""

from __future__ import annotations

import io
import socket
from pathlib import Path

import pytest

from initlab import config
from initlab.cli.console import Console, doubtful_settings
from initlab.cli.inspect_table import layer_lines
from initlab.report.note import shell_line
from initlab.run.inspect import inspect
from initlab.run.prepare import prepare
from initlab.spec import Record
from initlab.tracking import ui_url
from tests.cli.driver import initlab

DIGITS = ("data=digits", "model=mlp", "model.width=8", "tracking=none")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def record(step: int) -> Record:
    metrics = {"train/loss": 1.0 / step, "val/loss": 0.5, "val/accuracy": 0.25 * step}
    return Record(serial=step, step=step, epoch=float(step), time_ms=step, metrics=metrics)


def test_epochs_stay_on_screen_above_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    experiment = config.experiment(config.compose(list(DIGITS)))
    screen = Terminal()
    console = Console(screen, screen)
    console.started(experiment, prepare(experiment), "", None)
    for step in (1, 2, 3):
        console.record(record(step), 3)
    console.close()
    shown = screen.getvalue()
    lines = [x for x in shown.splitlines() if "epoch " in x and "val accuracy" in x]
    assert [x[x.index("epoch ") :].split(" (")[0] for x in lines] == ["epoch 1", "epoch 2", "epoch 3"]
    assert "3/3" in shown, "the bar is there too"


def test_lines_go_to_a_file_where_only_the_bar_has_a_terminal() -> None:
    experiment = config.experiment(config.compose(list(DIGITS)))
    out, err = io.StringIO(), Terminal()
    console = Console(out, err)
    console.started(experiment, prepare(experiment), "", None)
    console.record(record(1), 1)
    console.close()
    assert out.getvalue().splitlines()[-1].startswith("epoch 1 (update 1): train loss 1.0000, val loss 0.5000")
    assert "\x1b" not in out.getvalue() and "epoch 1 (update" not in err.getvalue()


@pytest.mark.parametrize(
    ("override", "part"),
    [
        ("trainer.batch_size=5000", "trainer.batch_size=5000: is larger than the 1294 training examples"),
        ("data.val_fraction=0.9", "1294 examples are held out for validation, and 144 are left"),
    ],
)
def test_doubtful_settings_are_told(override: str, part: str) -> None:
    experiment = config.experiment(config.compose([*DIGITS, override]))
    (line,) = doubtful_settings(experiment, prepare(experiment))
    assert part in line
    usual = config.experiment(config.compose(list(DIGITS)))
    assert doubtful_settings(usual, prepare(usual)) == []


@pytest.mark.process
def test_a_doubtful_setting_is_told_and_the_run_goes_on(tmp_path: Path) -> None:
    done = initlab(*DIGITS, "trainer.batch_size=5000", "trainer.max_steps=1", cwd=tmp_path)
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert line.startswith("initlab: trainer.batch_size=5000: ") and "write trainer.batch_size=128" in line


@pytest.mark.process
def test_a_tracker_that_does_not_answer_is_told_before_training(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    done = initlab(
        "data=digits", "model=mlp", "model.width=8", "trainer.max_steps=1", "tracking.report=false",
        "tracking.drain_seconds=0.1", f"tracking.uri=http://127.0.0.1:{port}", cwd=tmp_path,
    )  # fmt: skip
    # the process that delivers may say so again
    line = done.stderr.splitlines()[0]
    assert line.startswith("initlab: tracking: ")
    assert "did not answer: training goes on" in line and ".initlab/spool" in line
    assert "python -m initlab sync" in line
    assert list((tmp_path / ".initlab" / "spool").glob("*/records.jsonl")), "the records wait"


def test_commands_hold_no_masked_password() -> None:
    masked = "tracking.uri=postgresql://me:***@host/db"
    line = shell_line(["init=he", masked])
    assert "***" not in line and line.startswith("python -m initlab init=he   (set MLFLOW_TRACKING_URI first")
    line = shell_line(["study.storage=postgresql://me:***@host/db", masked])
    assert "***" not in line and "add study.storage=... tracking.uri=..." in line
    assert shell_line(["init=he", "tracking.uri=http://host"]) == "python -m initlab init=he tracking.uri=http://host"
    assert "***" not in ui_url("postgresql://me:secret@host/db") and "secret" not in ui_url(
        "postgresql://me:secret@h/d"
    )


@pytest.mark.parametrize("width", [80, 100, 200])
@pytest.mark.parametrize("network", [("model=mlp", "model.depth=30"), ("model=resnet",)])
def test_the_layer_table_fits_and_has_a_legend(network: tuple[str, ...], width: int) -> None:
    settings = ("inspect.examples=16", "inspect.ntk_examples=0", "inspect.gradient_quotient=false")
    experiment = config.experiment(config.compose(["data=digits", *network, "tracking=none", *settings]))
    lines = layer_lines(inspect(experiment, experiment.inspect), width=width)
    assert max(map(len, lines)) <= width
    head, text = lines[0], " ".join(x.strip() for x in lines)
    for name in ("q", "c", "log10 grad²"):
        assert name in head and f"{name}: " in text
    for name in ("χ", "saturated", "off", "rank", "J s²", "J cond."):
        assert (name in head) == (f"{name}: " in text)
        assert name in text
    assert ("Left out at this width" in text) == (width == 80)


def test_advise_shows_on_a_terminal_what_it_looks_at(monkeypatch: pytest.MonkeyPatch) -> None:
    from initlab.cli.advise import options_of

    experiment = config.experiment(config.compose([*DIGITS]))
    prepared = prepare(experiment)
    screen, plain = Terminal(), io.StringIO()
    monkeypatch.setattr("sys.stderr", screen)
    options_of(experiment, prepared, typed=False, silent="")
    shown = [line for line in screen.getvalue().split("\r\x1b[K") if line]
    assert shown[0] == "looking at the initialisations with relu (1 of 6)"
    assert [line.split()[-3] for line in shown] == [f"({n}" for n in range(1, 7)]
    assert screen.getvalue().endswith("\r\x1b[K"), "the line is cleared at the end"
    monkeypatch.setattr("sys.stderr", plain)
    options_of(experiment, prepared, typed=True, silent="")
    assert plain.getvalue() == "", "nothing of it where there is no terminal"
