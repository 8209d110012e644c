"""Data of the figures: objectives of arms, and the options of their keys."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from initlab.study.search.arms import ArmResult


def objective_of(arm: ArmResult) -> float | None:
    return arm.finite if arm.state == "complete" else None


def as_numbers(values: Sequence[str]) -> list[float] | None:
    """The values as finite numbers; None where one of them is not."""
    try:
        found = [float(v) for v in values]
    except ValueError:
        return None
    return found if all(map(math.isfinite, found)) else None


def options_of(values: Any) -> list[str]:
    """Each value once: numbers by size, names as they first appear."""
    options = list(dict.fromkeys(values))
    found = as_numbers(options)
    return [v for _, v in sorted(zip(found, options, strict=True))] if found else options
