from __future__ import annotations

from tests.compare.conftest import no_runs, store

__all__ = ["no_runs", "store"]
