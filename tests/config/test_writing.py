"""A configuration that was written is read back as it was."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from initlab.config import compose, experiment
from initlab.config.yaml_text import to_yaml

WORDS = (
    "1e-4", "1E5", "1.", ".5", "-.5e3", "1_000", "0x1F", "0b11", "0o17", "12:30:45", "1:30.5", "inf", "-.inf", ".nan",
    "nan", "yes", "No", "on", "OFF", "y", "true", "null", "~", "", " ", "2026-11-24", "a: b", "# no", "- x", "'", '"',
    "é\n", "he", "+", ".", "1e", "_1",
)  # fmt: skip


def read(text: str) -> Any:
    return OmegaConf.to_container(OmegaConf.create(text))


@pytest.mark.parametrize("word", WORDS)
def test_words_that_look_like_something_else(word: str) -> None:
    assert read(to_yaml({"a": word, "b": [word]})) == {"a": word, "b": [word]}


#: a text with NUL, which no store takes, is written with an escape in its place
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
PLAIN = st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False) | TEXT


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), PLAIN | st.lists(PLAIN, max_size=4), max_size=5))
def test_any_tree(tree: dict[str, Any]) -> None:
    # "${" begins an interpolation, whoever writes it
    if "$" not in str(tree):
        assert read(to_yaml(tree)) == tree


def test_the_configuration_of_a_run() -> None:
    config = compose(["init=uniform", "init.a=1e-4", "model=mlp", "optimizer=adamw", "probes=full"])
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    kept = read(experiment(config).config_yaml)
    assert (
        kept["init"] == plain["init"] and kept["optimizer"] == plain["optimizer"] and kept["probes"] == plain["probes"]
    )
