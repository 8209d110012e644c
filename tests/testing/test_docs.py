"""Examples in docstrings run, and every block of docs/plugins.md is a part of examples/plugin or names a file."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

from initlab import testing
from initlab.config import groups

ROOT = Path(__file__).parents[2]
PLUGIN = ROOT / "examples" / "plugin"
TEXT = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.M | re.S)
SOURCES = [p.read_text(encoding="utf-8") for p in PLUGIN.rglob("*") if p.suffix in (".py", ".yaml", ".toml")]


@pytest.mark.parametrize("name", [m.name for m in pkgutil.iter_modules(testing.__path__)])
def test_examples_run(name: str) -> None:
    module = importlib.import_module(f"initlab.testing.{name}")
    assert doctest.testmod(module).failed == 0
    for case in (c for n, c in vars(module).items() if n.endswith("Cases") and n in testing.__all__):
        assert "Example:" in (case.__doc__ or "") or case.__module__ != module.__name__


@pytest.mark.parametrize("block", [b for _, b in BLOCKS], ids=[b.splitlines()[0][:30] for _, b in BLOCKS])
def test_a_block_is_a_part_of_the_example(block: str) -> None:
    assert any(block.strip() in source for source in SOURCES)


def test_the_files_that_are_named_are_there() -> None:
    assert len(BLOCKS) >= 5
    for name in re.findall(r"`(initlab/[\w/]+\.py)`", TEXT):
        assert (ROOT / name).is_file(), name
    for group, name in re.findall(r"conf/(\w+)/(\w+)\.yaml", TEXT):
        assert group in groups() and (PLUGIN / "moonlab" / "conf" / group / f"{name}.yaml").is_file(), (group, name)
    for name in re.findall(r"`(\w+Cases)`", TEXT):
        assert name in testing.__all__
