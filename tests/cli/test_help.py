"""Help, the composed configuration and the wheel: from any directory, before torch is loaded."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from initlab.cli.arguments import Command
from initlab.cli.help import options_of
from initlab.cli.table import TABLE
from initlab.config import groups
from initlab.core.version import __version__
from tests.cli.driver import environment, initlab

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]


def test_help_lists_every_command_and_group_on_one_screen(workdir: Path) -> None:
    done = initlab("--help", cwd=workdir)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) <= 45 and max(map(len, lines)) <= 120
    for command in TABLE:
        assert any(line.split()[:1] == [command.name] and command.help in line for line in lines), command.name
    for word in (*groups(), "Exit codes", "INITLAB_DEBUG"):
        assert word in done.stdout
    assert list(workdir.iterdir()) == []


@pytest.mark.parametrize("command", TABLE, ids=lambda c: c.name)
def test_every_command_has_help_with_its_options_defaults_and_an_example(workdir: Path, command: Command) -> None:
    done = initlab(*([] if command.name == "help" else [command.name]), "--help", cwd=workdir, COLUMNS="118")
    assert done.returncode == 0, done.stderr
    if command.name == "help":
        return
    assert command.help in done.stdout and command.example in done.stdout
    for option in options_of(command):
        assert f"  {option.name}=" in done.stdout and option.help.split()[0] in done.stdout
    assert initlab("help", command.name, cwd=workdir, COLUMNS="118").stdout == done.stdout


def test_help_on_a_group_and_on_a_file(workdir: Path) -> None:
    listed = initlab("help", "init", cwd=workdir).stdout
    assert all(f"\n{name} " in listed for name in groups()["init"])
    one = initlab("help", "init=lsuv", cwd=workdir, COLUMNS="118").stdout
    assert "Mishkin & Matas" in one and "initlab.inits.lsuv" in one
    for key, default, comment in (("init.tol", "0.02", "variance"), ("init.base", "orthogonal", "draws the weights")):
        (line,) = [x for x in one.splitlines() if x.split()[:2] == [key, default]]
        assert comment in line
    experiments = initlab("help", "experiment", cwd=workdir, COLUMNS="118").stdout
    (line,) = [x for x in experiments.splitlines() if x.startswith("papers/he_2015 ")]
    assert "a 30-layer ReLU network learns" in line and "@package" not in experiments
    claim = initlab("help", "experiment=papers/he_2015", cwd=workdir, COLUMNS="118").stdout
    assert claim.splitlines()[-1] == "Example: python -m initlab papers he_2015"
    for wrong, hint in (("inti", "did you mean init?"), ("init=lsvu", "did you mean lsuv?"), ("x=y", "no such group")):
        done = initlab("help", wrong, cwd=workdir)
        assert done.returncode == 2 and hint in done.stderr, done.stderr


def test_the_pages_of_commands_are_those_of_the_table() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "make_commands.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_version(workdir: Path) -> None:
    assert initlab("--version", cwd=workdir).stdout == f"initlab {__version__}\n"
    assert initlab("compare", "--version", cwd=workdir).stdout == f"initlab {__version__}\n"


def test_cfg_job_shows_what_would_run(workdir: Path) -> None:
    done = initlab("--cfg", "job", "init=orthogonal", "optimizer.lr=0.5", cwd=workdir)
    assert done.returncode == 0, done.stderr
    assert "_target_: initlab.inits.orthogonal" in done.stdout and "lr: 0.5" in done.stdout


def test_help_does_not_load_the_heavy_libraries(workdir: Path) -> None:
    code = (
        "import sys; from initlab.cli.main import main\n"
        "try: main(['--help'])\nexcept SystemExit: print('done')\n"
        "heavy = 'torch', 'mlflow', 'torchvision', 'matplotlib', 'pandas', 'sklearn', 'hydra', 'omegaconf'\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=workdir, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr


def test_looking_and_training_do_not_load_the_compiler(workdir: Path) -> None:
    """Nor what else takes as long as torch and is not used."""
    small = ["data=digits", "model.depth=2", "tracking.report=false"]
    text = ["task=text", "model=gpt", "model.depth=2", "tracking.report=false"]
    commands = [
        ["inspect", "model=mlp", *small], ["model=mlp", "trainer.max_steps=2", *small],
        ["inspect", *text], [*text, "trainer.max_steps=2"],
    ]  # fmt: skip
    heavy = ["torch._dynamo", "torch._inductor", "sympy", "pandas", "torchvision", "matplotlib", "mlflow", "sklearn"]
    code = (
        "import sys; from initlab.cli.main import main\n"
        f"for words in {commands}:\n"
        "    try: main(words)\n    except SystemExit as end: assert not end.code, end\n"
        f"print([m for m in {heavy} if m in sys.modules])"
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
        "initlab/report/run.html.j2",
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
