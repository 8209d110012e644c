from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.study.postgres_server import Postgres, needed


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A running PostgreSQL server of this test session's own."""
    server = Postgres(needed())
    try:
        server.start()
        yield server
    finally:
        server.remove()
