"""Every initialiser has a page that says what its file, its docstring and the tables of docs/inits.md say today."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_inits", DOCS / "make_inits.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MADE = maker()


@pytest.mark.parametrize("name", MADE.names())
def test_the_page_is_up_to_date(name: str) -> None:
    """After a change: python docs/make_inits.py"""
    page = (DOCS / "init" / f"{name}.md").read_text(encoding="utf-8")
    assert MADE.page(name) == page
    assert "| formula |" in page, "it has a row in a table of docs/inits.md"
    assert f"](init/{name}.md)" in (DOCS / "inits.md").read_text(encoding="utf-8")
    if "| with | test accuracy |" in page:
        assert "refused" not in page.partition("## Measured")[2].partition("##")[0]


def test_no_page_or_picture_is_left_over() -> None:
    assert {p.stem for p in (DOCS / "init").iterdir()} == set(MADE.names())
