"""Each test of the figures runs over the copied part and, where they are there, over the whole files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests import oracles as source


@pytest.fixture(params=["copied", "files"])
def figures(request: pytest.FixtureRequest) -> Mapping[str, Any]:
    if request.param == "copied":
        return source.copied()
    found = source.files()
    if found is None:
        pytest.skip(source.ABSENT)
    return found


@pytest.fixture
def constants(figures: Mapping[str, Any]) -> Mapping[str, Any]:
    return figures["constants"]


@pytest.fixture
def oracles(figures: Mapping[str, Any]) -> Mapping[str, Any]:
    return figures["oracles"]


@pytest.fixture
def fullest() -> Mapping[str, Any]:
    """The files where they are there, else the copied part: for what is too slow to run over both."""
    return source.files() or source.copied()
