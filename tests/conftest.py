"""What tests share: no user's settings leak in, and nothing is written outside the test's own directory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

for name in [n for n in os.environ if n.startswith(("MLFLOW_", "HYDRA_"))]:
    del os.environ[name]


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
