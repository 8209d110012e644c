"""Help, the composed configuration and the wheel: from any directory, before torch is loaded."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from initlab.config import groups
from tests.command_line.driver import environment, initlab

ROOT = Path(__file__).parents[2]


def test_help_lists_commands_groups_and_files(workdir: Path) -> None:
    done = initlab("--help", cwd=workdir)
    assert done.returncode == 0, done.stderr
    for word in ("Commands:", "sync", "Exit codes", "INITLAB_DEBUG"):
        assert word in done.stdout
    for group, names in groups().items():
        assert f"{group}: {', '.join(names)}" in done.stdout
    assert list(workdir.iterdir()) == []


@pytest.mark.parametrize("command", ["data", "sync", "ui"])
def test_every_command_has_help(workdir: Path, command: str) -> None:
    done = initlab(command, "--help", cwd=workdir)
    assert done.returncode == 0 and "Commands:" in done.stdout


def test_cfg_job_shows_what_would_run(workdir: Path) -> None:
    done = initlab("--cfg", "job", "init=orthogonal", "optimizer.lr=0.5", cwd=workdir)
    assert done.returncode == 0, done.stderr
    assert "_target_: initlab.inits.orthogonal" in done.stdout and "lr: 0.5" in done.stdout


def test_help_does_not_load_the_heavy_libraries(workdir: Path) -> None:
    code = (
        "import sys; from initlab.cli.main import main\n"
        "try: main(['--help'])\nexcept SystemExit: print('done')\n"
        "print([m for m in ('torch', 'mlflow', 'torchvision', 'matplotlib', 'pandas', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=workdir, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr


def test_the_wheel_carries_the_configuration_and_works_without_the_checkout(workdir: Path) -> None:
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(workdir), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = workdir.glob("*.whl")
    installed = workdir / "site"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(installed)
    assert {
        "initlab/conf/config.yaml",
        "initlab/conf/init/he.yaml",
        "initlab/py.typed",
        "initlab/report/page.html.j2",
    } <= set(names)
    assert any(n.endswith("licenses/LICENSE") for n in names)
    elsewhere = workdir / "elsewhere"
    elsewhere.mkdir()
    for arguments in (
        ["--help"],
        ["--cfg", "job"],
        ["data=digits", "model=mlp", "trainer.fast_dev_run=true", "tracking=none"],
    ):
        done = initlab(*arguments, cwd=elsewhere, PYTHONPATH=str(installed))
        assert done.returncode == 0, done.stderr
    where = subprocess.run(
        [sys.executable, "-c", "from initlab.config import conf_dir; print(conf_dir())"], cwd=elsewhere,
        env=environment(PYTHONPATH=str(installed)), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert where.stdout.strip() == str(installed / "initlab" / "conf")


def test_data_command(workdir: Path) -> None:
    listed = initlab("data", cwd=workdir, XDG_CACHE_HOME=str(workdir))
    assert listed.returncode == 0, listed.stderr
    for name in ("mnist_mini", "digits", "cifar10"):
        assert name in listed.stdout
    one = initlab("data", "digits", cwd=workdir, XDG_CACHE_HOME=str(workdir))
    assert one.returncode == 0 and "10 classes" in one.stdout, one.stderr
