"""Every entry has a file, a section and a picture, and the page says what the catalogue says today."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from initlab import config

DOCS = Path(__file__).parents[2] / "docs"


def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_activations", DOCS / "make_activations.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ENTRIES = maker().entries()


def test_every_entry_has_a_file_and_every_file_is_an_entry() -> None:
    assert set(config.groups()["activation"]) == {*ENTRIES, "default"}


@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_section_picture_and_file(name: str) -> None:
    page = (DOCS / "activations.md").read_text(encoding="utf-8")
    assert page.count(f"\n### `{name}`\n") == 1
    assert f"](activations/{name}.png)" in page
    path = DOCS / "activations" / f"{name}.png"
    assert path.stat().st_size < 8_000
    with Image.open(path) as image:
        assert image.size == (320, 200)
    first = (config.conf_dir() / "activation" / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    assert (
        first[0].startswith("# ")
        and f"_target_: initlab.{'theory' if name in ('dks', 'tat') else 'activations'}.{name}" in first
    )


def test_no_picture_is_left_over() -> None:
    assert {p.stem for p in (DOCS / "activations").glob("*.png")} == set(ENTRIES)


@pytest.mark.process
def test_the_page_is_up_to_date() -> None:
    """After a change of the catalogue: python docs/make_activations.py"""
    assert maker().text() == (DOCS / "activations.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_docstrings_say_formula_slope_and_use(name: str) -> None:
    doc = ENTRIES[name].__doc__ or ""
    first = doc.split("\n\n")[0]
    assert "φ" in first or name in ("meta_acon",)
    assert any(word in doc for word in ("φ'", "φₗ'", "gradient", "derivative"))
    assert len(doc.split()) > 12
