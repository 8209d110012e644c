from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.compare.stores import empty


@pytest.fixture(scope="session")
def no_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store without runs; copying it spares each test the seconds that its creation takes."""
    return empty(tmp_path_factory.mktemp("no_runs"))


@pytest.fixture
def store(workdir: Path, no_runs: Path) -> Path:
    """The file of a store in the current directory, without runs."""
    shutil.copyfile(no_runs, workdir / "mlflow.db")
    return workdir / "mlflow.db"
