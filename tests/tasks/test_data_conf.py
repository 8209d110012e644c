"""The files under conf/ say what the factories say."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import pytest
import yaml

CONF = Path(__file__).parents[2] / "conf"
FILES = [f for group in ("data", "task", "model") for f in sorted((CONF / group).glob("*.yaml"))]


@pytest.mark.parametrize("file", FILES, ids=lambda f: f"{f.parent.name}-{f.stem}")
def test_keys_and_defaults_are_the_factorys(file: Path) -> None:
    text = file.read_text()
    assert text.startswith("# ")
    content = yaml.safe_load(text)
    if "defaults" in content:
        assert (file.parent / f"{content['defaults'][0]}.yaml").is_file()
        return
    module, _, name = content.pop("_target_").rpartition(".")
    parameters = dict(inspect.signature(getattr(importlib.import_module(module), name)).parameters)
    if file.parent.name == "task":
        parameters.pop("data")
    assert sorted(content) == sorted(parameters)
    for key, value in content.items():
        default = parameters[key].default
        assert value == ("???" if default is inspect.Parameter.empty else default), key
