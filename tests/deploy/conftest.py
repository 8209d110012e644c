from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.stack import Stack


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """`initlab server postgres=true`, one for the whole session."""
    running = Stack()
    try:
        running.start()
        yield running
    finally:
        running.remove()


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder
