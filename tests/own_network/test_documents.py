"""Every command and block of docs/own_network.md and of the example's README runs."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.driver import environment, initlab
from tests.own_network.conftest import EXAMPLE
from tests.study.study_cases import runs

ROOT = Path(__file__).parents[2]
GUIDE, README = (p.read_text(encoding="utf-8") for p in (ROOT / "docs" / "own_network.md", EXAMPLE / "README.md"))
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", GUIDE, re.M | re.S)
COMMANDS = [line for kind, block in BLOCKS if not kind for line in block.splitlines()]
#: what each command says, by a word of it
SAYS = {
    "-m": "best init=",
    "compare": "+ best: init=",
    "explain": "finished after",
    "advise": "Take: python -m initlab model._target_=ownnet.Net",
    "inspect": "blocks.2.inner.weight",
    "task._target_=ownnet.Rings": "he-own-Net-Rings-s0 finished",
    "init._target_=ownnet.scaled_": "scaled_-own-Net-digits-s0 finished",
    "init._target_=ownnet.init_weights": "init_weights set 10 of 13 parameters",
    "model.width=16": "he-own-Net-digits-s0 finished",
}


@pytest.fixture
def folder(workdir: Path) -> Path:
    """The working directory with the example's package in it."""
    shutil.copytree(EXAMPLE / "ownnet", workdir / "ownnet", ignore=shutil.ignore_patterns("__pycache__"))
    return workdir


@pytest.mark.process
@pytest.mark.timeout(240)
def test_every_command_runs(folder: Path) -> None:
    assert len(COMMANDS) == 9
    for command in COMMANDS:
        words = shlex.split(command)
        assert words[:3] == ["python", "-m", "initlab"], command
        done = initlab(*words[3:], cwd=folder)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        said = next(text for word, text in SAYS.items() if word in words[3:])
        assert said in done.stdout, f"{command}\n{done.stdout}"
    assert sum(r.data.tags.get("initlab.study") == "own" and r.info.status == "FINISHED" for r in runs(folder)) >= 4


@pytest.mark.process
def test_resuming_and_the_console_script(folder: Path) -> None:
    small = ("model._target_=ownnet.Net", "model.width=4", "data=digits", "data.limit=200", "tracking.report=false")
    assert initlab(*small, "trainer.epochs=1", cwd=folder).returncode == 0
    (run,) = runs(folder)
    refused = initlab(f"resume={run.info.run_id}", "trainer.epochs=2", cwd=folder)
    assert refused.returncode == 2 and "config.targets=[ownnet] where you trust it" in refused.stderr
    resumed = initlab(f"resume={run.info.run_id}", "trainer.epochs=2", "config.targets=[ownnet]", cwd=folder)
    assert resumed.returncode == 0 and "epoch 2" in resumed.stdout, resumed.stderr
    # a console script does not have the current directory on its path
    code = "import sys; sys.argv = ['initlab', *sys.argv[1:]]; from initlab.cli.main import entry; entry()"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, *small, "trainer.epochs=1", "tracking=none"], cwd=folder,
        env=environment(PYTHONPATH=str(ROOT)), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and "he-own-Net-digits-s0 finished" in done.stdout, done.stderr


@pytest.mark.slow
def test_the_block_for_python_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLE))
    (block,) = (text for kind, text in BLOCKS if kind == "python" and "import initlab" in text)
    exec(compile(block, "own_network.md", "exec"), {})
    said = capsys.readouterr().out
    assert "blocks.2.outer.weight" in said and "take init=" in said


def test_the_blocks_are_parts_of_the_example() -> None:
    sources = [p.read_text(encoding="utf-8") for p in EXAMPLE.rglob("*") if p.suffix in (".py", ".md")]
    for kind, block in BLOCKS:
        for part in [block.strip()] if kind else block.splitlines():
            assert any(part in source for source in sources), part


def test_the_names_in_the_table_are_those_that_are_filled() -> None:
    from initlab.models.own import ACTIVATION, DATA

    named = re.findall(r"`(\w+)`", GUIDE.partition("| parameter | value |")[2].partition("The network is called")[0])
    assert set(named) - {"initlab"} <= {*DATA} and len(named) >= 20
    assert all(f"`{name}`" in GUIDE for name in ACTIVATION)
