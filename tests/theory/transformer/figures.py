"""The reference's figures for transformers, read from the file of oracles where it is there."""

from __future__ import annotations

import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest


def _path() -> Path:
    data = os.environ.get("INITLAB_DATA")
    shared = Path(data).parent if data else Path(__file__).parents[4] / "shared"
    return shared / "oracles" / "transformers.json"


needs_figures = pytest.mark.skipif(not _path().exists(), reason="the file of the reference's figures is not here")


@lru_cache(maxsize=1)
def _all() -> dict[str, Any]:
    return json.loads(_path().read_text(encoding="utf-8"))


def figures(key: str) -> Any:
    """What is stored under `key`."""
    return _all()[key]
