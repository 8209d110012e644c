"""Figures computed outside of initlab, against which the theory is tested.

The full set lies in a folder `oracles` beside the data (``INITLAB_DATA``) or in ``shared`` beside the repository. Some
of it, with its sources, is in ``tests/theory/figures.json``, so that every section is checked without the folder.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from initlab.activations.naming import parse_activation
from initlab.spec import Activation

ROOT = Path(__file__).resolve().parents[1]
COPIED = Path(__file__).with_name("theory") / "figures.json"
ABSENT = "the oracle files are not here: neither beside $INITLAB_DATA nor in ../shared/oracles"

#: names that stand for an entry of the catalogue with arguments
_SPELLED = {
    "leaky_relu_0.01": "leaky_relu",
    "leaky_relu_0.1": "leaky_relu(negative_slope=0.1)",
    "leaky_relu_0.2": "leaky_relu(negative_slope=0.2)",
    "prelu_0.25": "leaky_relu(negative_slope=0.25)",  # at its start; a PReLU learns its slope
    "rrelu_eval_0.2291667": "rrelu",
    "elu_0.5": "elu(alpha=0.5)",
    "celu_2": "celu(alpha=2.0)",
    "quick_gelu_1.702": "quick_gelu",
    "sin_w0_30": "sin(w0=30.0)",
    "snake_1": "snake",
    "softshrink_0.5": "softshrink",
    "hardshrink_0.5": "hardshrink",
}


def folder() -> Path | None:
    """Where the files lie, or None."""
    data = os.environ.get("INITLAB_DATA")
    places = [Path(data).resolve().parent / "oracles"] if data else []
    places.append(ROOT.parent / "shared" / "oracles")
    return next((p for p in places if (p / "oracles.json").is_file() and (p / "constants.json").is_file()), None)


@cache
def files() -> Mapping[str, Any] | None:
    """``{"constants": ..., "oracles": ...}`` as the files have it, or None."""
    found = folder()
    if found is None:
        return None
    return {name: json.loads((found / f"{name}.json").read_text(encoding="utf-8")) for name in ("constants", "oracles")}


@cache
def copied() -> Mapping[str, Any]:
    """The part that is kept here, in the same shape."""
    return json.loads(COPIED.read_text(encoding="utf-8"))


@cache
def activation(name: str) -> Activation:
    """The catalogue's activation for an oracle's name."""
    return parse_activation(_SPELLED.get(name, name))


class Differences:
    """Collects what disagrees, so that one failure shows all of it."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def check(self, what: object, got: float, want: float, *, rel: float = 1e-6, tol: float = 1e-9) -> None:
        if not (math.isclose(got, want, rel_tol=rel, abs_tol=tol) or got == want):
            self.found.append(f"{what}: {got!r} is not {want!r}")

    def none(self) -> None:
        assert not self.found, "\n".join(self.found)
