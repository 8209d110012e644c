"""The example plug-in, installed into an environment of its own: help, a run, a study, and its own tests."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import sysconfig
import venv
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.driver import environment

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "examples" / "plugin"
SMALL = ("task=moons", "data.examples=200", "trainer.epochs=1", "tracking.report=false")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the plug-in in it. Nothing is downloaded or written into the checkout.

    The packages of this environment are seen through a .pth file, those of initlab included.
    """
    home = tmp_path_factory.mktemp("plugin")
    venv.create(home / "venv", with_pip=False)
    (site,) = (home / "venv" / "lib").glob("python*/site-packages")
    seen = dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), str(ROOT)])
    (site / "shared.pth").write_text("\n".join(seen) + "\n", encoding="utf-8")
    copied = shutil.copytree(SOURCE, home / "source", ignore=shutil.ignore_patterns("__pycache__", "build", "dist"))
    python = home / "venv" / "bin" / "python"
    install = ["-m", "pip", "install", "--no-build-isolation", "--no-deps", "--no-index", "--no-cache-dir", str(copied)]
    done = subprocess.run(
        [str(python), *install, "--disable-pip-version-check"], env=environment(), cwd=home, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return python


def initlab(python: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(python), "-m", "initlab", *arguments], cwd=cwd, env=environment(COLUMNS="118"), capture_output=True,
        text=True, timeout=120, check=False,
    )  # fmt: skip


def test_help_shows_what_it_adds(python: Path, workdir: Path) -> None:
    done = initlab(python, "--help", cwd=workdir)
    assert done.returncode == 0, done.stderr
    (line,) = [x for x in done.stdout.splitlines() if x.startswith("Plug-in moonlab 0.1.0: ")]
    assert "activation=sinlu" in line and "init=kumar" in line
    assert "\nkumar " in initlab(python, "help", "init", cwd=workdir).stdout
    one = initlab(python, "help", "init=kumar", cwd=workdir).stdout
    assert "arXiv:1704.08863" in one and "Factory: moonlab.kumar" in one and "init.gain  1.0" in one
    # a file of the plug-in that builds on one of initlab's has the keys of both
    probes = initlab(python, "help", "probes=sparseness", cwd=workdir).stdout
    assert "probes.dense_until" in probes and "[moonlab.sparseness]" in probes
    assert not list(workdir.iterdir())


def test_a_run_of_everything_that_it_adds(python: Path, workdir: Path) -> None:
    done = initlab(
        python, "init=kumar", "activation=sinlu", "model=dense_mlp", "probes=sparseness", *SMALL, cwd=workdir
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "kumar-sinlu-dense_mlp-moons-s0 finished" in done.stdout
    with closing(sqlite3.connect(workdir / "mlflow.db")) as store:
        keys = {k for (k,) in store.execute("select distinct key from metrics") if k.startswith("watch/sparseness/")}
        params = dict(store.execute("select key, value from params"))
        (status,) = store.execute("select status from runs").fetchone()
    assert keys == {f"watch/sparseness/{s}.weight" for s in ("head", "layers.00", "layers.01", "layers.02")}
    assert (params["probes.extra"], params["task"], status) == ('["moonlab.sparseness"]', "moons", "FINISHED")


def test_a_study_whose_workers_are_other_processes(python: Path, workdir: Path) -> None:
    done = initlab(python, "-m", "init=he,kumar", "activation=sinlu", "probes=sparseness", *SMALL, cwd=workdir)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 arms: 2 complete" in done.stdout and "kumar" in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("init=kumar", "activation=relu", "task=moons"), "init=kumar: needs an activation with a tangent at 0"),
        (("task=moons", "data.examples=3"), "data.examples=3: must be 20 or more"),
    ],
)
def test_bad_input_is_one_line(python: Path, workdir: Path, words: tuple[str, ...], message: str) -> None:
    done = initlab(python, *words, cwd=workdir)
    assert done.returncode == 2 and message in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr


def test_its_own_tests(python: Path, workdir: Path) -> None:
    shutil.copytree(SOURCE / "tests", workdir / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run(
        [str(python), "-m", "pytest", "-q", "-W", "error", "tests"], cwd=workdir, env=environment(),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "failed" not in done.stdout and "passed" in done.stdout


def test_this_environment_is_as_it_was() -> None:
    code = "from initlab.core.plugins import installed_plugins; print([p.name for p in installed_plugins()])"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    assert "moonlab" not in done.stdout
