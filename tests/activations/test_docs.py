"""Every entry has a file, a page and a picture, and the pages say what the catalogue says today."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
import torch
from torch import nn

from initlab import config
from tests.programs import DOCS, load

ENTRIES = load("make_activations").entries()


def test_every_entry_has_a_file_and_every_file_is_an_entry() -> None:
    assert set(config.groups()["activation"]) == {*ENTRIES, "default"}


@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_row_page_picture_and_file(name: str) -> None:
    index = (DOCS / "activations.md").read_text(encoding="utf-8")
    assert index.count(f"| [`{name}`](activation/{name}.md) |") == 1
    page = (DOCS / "activation" / f"{name}.md").read_text(encoding="utf-8")
    assert page.startswith(f"# {name}\n") and f"]({name}.svg)" in page and "## Measured" in page
    picture = DOCS / "activation" / f"{name}.svg"
    assert picture.stat().st_size < 25_000
    assert ElementTree.parse(picture).getroot().tag.endswith("svg")
    first = (config.conf_dir() / "activation" / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    assert (
        first[0].startswith("# ")
        and f"_target_: initlab.{'theory' if name in ('dks', 'tat') else 'activations'}.{name}" in first
    )


def test_no_page_or_picture_is_left_over() -> None:
    assert {p.name for p in (DOCS / "activation").iterdir()} == {f"{n}.{e}" for n in ENTRIES for e in ("md", "svg")}


@pytest.mark.process
def test_the_pages_are_up_to_date() -> None:
    """After a change of the catalogue: python docs/make_activations.py"""
    made = load("make_activations")
    assert made.index() == (DOCS / "activations.md").read_text(encoding="utf-8")
    for name in ENTRIES:
        assert made.page(name) == (DOCS / "activation" / f"{name}.md").read_text(encoding="utf-8"), name


@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_docstrings_say_formula_slope_and_use(name: str) -> None:
    doc = ENTRIES[name].__doc__ or ""
    first = doc.split("\n\n")[0]
    assert "φ" in first or name in ("meta_acon",)
    assert any(word in doc for word in ("φ'", "φₗ'", "gradient", "derivative"))
    assert len(doc.split()) > 12


def test_table_of_unstable_fixed_points() -> None:
    """χ_q of the gated units and of GELU beside samples, and a warning in the section of each row."""
    page = (DOCS / "activations.md").read_text(encoding="utf-8")
    sections = {n: (DOCS / "activation" / f"{n}.md").read_text(encoding="utf-8") for n in ENTRIES}
    table = page.split("\n## Unstable fixed points\n")[1]
    rows = {row.split("`")[1]: [c.strip() for c in row.split("|")[2:]] for row in table.splitlines() if "| `" in row}
    assert {"glu", "geglu", "swiglu", "reglu"} <= set(rows) and not {"relu", "tanh", "maxmin"} & set(rows)
    assert {n for n, text in sections.items() if "*Unstable at this gain*" in text} == set(rows)
    z = torch.randn(2, 2_000_000, generator=torch.Generator().manual_seed(0))
    for name in ("glu", "geglu", "swiglu", "reglu", "gelu"):
        module = ENTRIES[name]().make()

        def square(q: float, module: nn.Module = module, name: str = name) -> float:
            h = q**0.5 * (z if name != "gelu" else z[:1])
            return float(module(h.T).double().square().mean())

        sampled = (square(1.05) - square(0.95)) / (0.1 * square(1.0))
        assert float(rows[name][0]) == pytest.approx(sampled, rel=0.01), name
