"""Every initialiser has a page that says what its file, its docstring and the tables of docs/inits.md say today."""

from __future__ import annotations

import re

import pytest

from initlab import config
from tests.programs import DOCS, load

MADE = load("make_inits")


@pytest.mark.parametrize("name", MADE.names())
def test_the_page_is_up_to_date(name: str) -> None:
    """After a change: python docs/make_inits.py"""
    page = (DOCS / "init" / f"{name}.md").read_text(encoding="utf-8")
    assert MADE.page(name) == page
    assert "| formula |" in page, "it has a row in a table of docs/inits.md"
    assert f"](init/{name}.md)" in (DOCS / "inits.md").read_text(encoding="utf-8")
    if "| with | test accuracy |" in page:
        assert "refused" not in page.partition("## Measured")[2].partition("##")[0]


def test_the_commands_of_the_pages_are_understood() -> None:
    """Those of initialisers, and of activations; what they come to was measured for the page."""
    pages = [*(DOCS / "init").glob("*.md"), *(DOCS / "activation").glob("*.md")]
    typed = [
        c.split() for p in pages for c in re.findall(r"^python -m initlab (.*)$", p.read_text("utf-8"), re.MULTILINE)
    ]
    assert len(typed) > 110
    for words in typed:
        overrides = [w for w in words if w != "inspect"]
        assert config.experiment(config.compose(overrides), overrides=tuple(overrides)).init is not None


def test_no_page_or_picture_is_left_over() -> None:
    assert {p.stem for p in (DOCS / "init").iterdir()} == set(MADE.names())
