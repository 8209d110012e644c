"""Claims and rows that the tests of `papers` are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from initlab.papers.claim import Claim
from initlab.papers.read_claim import read_claim
from initlab.papers.results import Row

NODE: dict[str, Any] = {
    "says": "A network with He's initialisation learns.", "paper": "Somebody 2020", "section": "1",
    "differs": "it is small.", "studies": {"main": ["init=he,xavier"]},
    "checks": [{"metric": "test/accuracy", "arm": "init=he", "above": 0.5}],
}  # fmt: skip
MEASURES = ("jacobian", "layer_moments")


def claim(**changes: Any) -> Claim:
    """The claim of `NODE` with other keys."""
    return read_claim("mine", {**NODE, **changes}, measures=MEASURES)


def rows(
    arm: Mapping[str, str], values: Sequence[float | None], *, metric: str = "test/accuracy", part: str = "main",
    budget: float = float("inf"), ending: str = "finished",
) -> list[Row]:  # fmt: skip
    """A row a seed; None for a run without a value."""
    return [
        Row(part=part, params=dict(arm), seed=s, values={} if v is None else {metric: v}, budget=budget, ending=ending)
        for s, v in enumerate(values)
    ]
