"""Several values of a key without -m: the error says how to train each of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra.errors import HydraException

from initlab import config
from initlab.cli.main import main
from initlab.config.hydra_errors import translate
from initlab.errors import ConfigError
from tests.cli.driver import initlab


def told(*overrides: str, command: str = "train") -> str:
    with pytest.raises(HydraException) as caught:
        config.compose(list(overrides))
    ours = translate(caught.value, overrides, command=command)
    assert isinstance(ours, ConfigError)
    assert ours.exit_code == 2
    assert "\n" not in str(ours)
    return str(ours)


@pytest.mark.parametrize(
    ("override", "shown", "one"),
    [
        ("init=he,xavier", "init=he,xavier", []),
        ("model=cnn,mlp,resnet", "model=cnn,mlp,resnet", []),
        ("optimizer.lr=0.1,0.2", "optimizer.lr=0.1,0.2", ['"optimizer.lr=[0.1,0.2]"', "\"optimizer.lr='0.1,0.2'\""]),
        ("experiment=mine,yours", "experiment=mine,yours", []),
        ("+init.x=1,2", "+init.x=1,2", ['"+init.x=[1,2]"']),
        ("init=choice(he,xavier)", "'init=choice(he,xavier)'", []),
        ("trainer.epochs=range(1,5)", "'trainer.epochs=range(1,5)'", ["\"trainer.epochs='range(1,5)'\""]),
        ("optimizer.lr=sort(2,1)", "'optimizer.lr=sort(2,1)'", ["(a text)"]),
        ("init=glob(*)", "'init=glob(*)'", []),
        ("init.weight=he(gain=2),he(gain=1)", "'init.weight=he(gain=2),he(gain=1)'", ["(a list)"]),
    ],
)
def test_add_m(override: str, shown: str, one: list[str]) -> None:
    message = told("task=image", override)
    key, _, value = override.partition("=")
    assert message.startswith(f"{key}={value}: holds several values: add -m to train each of them (initlab -m {shown})")
    of_a_group = key in ("init", "model", "experiment")
    assert of_a_group == ("quotes included" not in message), "a group takes a file, and no list"
    for part in one:
        assert part in message


def test_an_interval_needs_a_sampler() -> None:
    assert "add -m and a sampler (study=tpe study.trials=N)" in told("optimizer.lr=interval(1e-4,1e-1)")
    assert "add -m and a sampler" in told("optimizer.lr=tag(log,interval(1e-4,1e-1))")


@pytest.mark.parametrize("value", ["1,2", "range(1,5)", "choice(3,4)"])
def test_seeds_are_replicas(value: str) -> None:
    assert told(f"seed={value}") == (
        f"seed={value}: holds several values: seeds are replicas of a study, add -m and replicas=R"
    )


def test_other_commands_train_nothing() -> None:
    assert "inspect takes 'sweep={init: [he, xavier]}'" in told("init=he,xavier", command="inspect")
    assert "holds several values: advise takes one" in told("model=cnn,mlp", command="advise")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["init=he,", "xavier"], ["init=he,: ends with a comma", "-m init=he,xavier"]),
        (["inspect", "-m", "init=he,xavier"], ["-m: trains a study, which inspect does not", "sweep={"]),
        (["advise", "--multirun", "init=he,xavier"], ["--multirun: trains a study, which advise does not"]),
    ],
)
def test_slips_with_m_and_commas(arguments: list[str], parts: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    for part in parts:
        assert part in line


@pytest.mark.process
@pytest.mark.parametrize("command", [[], ["train"], ["inspect"]])
def test_on_the_command_line(workdir: Path, command: list[str]) -> None:
    done = initlab(*command, "tracking=none", "init=he,xavier", cwd=workdir)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("initlab: init=he,xavier: holds several values: ")
    assert ("-m" in line) == (command != ["inspect"])
