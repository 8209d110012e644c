"""Learning-rate schedules as pure functions: update number and total give a multiplier of the base rate.

Being pure they need no state in a checkpoint, and a resumed run has the same rate at the same update.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from initlab.core.factories import factory
from initlab.errors import ConfigError
from initlab.spec import LrSchedule, PositiveFloat, Probability, UnitFloat


def _with_warmup(warmup: float, after: Callable[[float], float]) -> LrSchedule:
    """Linear rise over the first `warmup` share of updates, then `after(progress)` with progress in [0, 1]."""

    def schedule(step: int, total: int) -> float:
        rise = round(warmup * total)
        if step < rise:
            return (step + 1) / rise
        return after((step - rise) / max(1, total - rise))

    return schedule


@factory
def constant(*, warmup: Probability = 0.0) -> LrSchedule:
    """1 throughout, after the warm-up."""
    return _with_warmup(warmup, lambda progress: 1.0)


@factory
def cosine(*, warmup: Probability = 0.0, final_share: UnitFloat = 0.0) -> LrSchedule:
    """Half a cosine from 1 to `final_share`. Loshchilov & Hutter, ICLR 2017, without restarts."""
    return _with_warmup(warmup, lambda p: final_share + (1 - final_share) * (1 + math.cos(math.pi * p)) / 2)


@factory
def linear(*, warmup: Probability = 0.0, final_share: UnitFloat = 0.0) -> LrSchedule:
    """A straight line from 1 to `final_share`."""
    return _with_warmup(warmup, lambda p: 1 + (final_share - 1) * p)


@factory
def step(
    *, milestones: tuple[UnitFloat, ...] = (0.5, 0.75), factor: PositiveFloat = 0.1, warmup: Probability = 0.0
) -> LrSchedule:
    """Multiplied by `factor` at each of `milestones` (shares of all updates, ascending)."""
    if list(milestones) != sorted(milestones):
        raise ConfigError("milestones", list(milestones), "must ascend")
    return _with_warmup(warmup, lambda p: factor ** sum(p >= m for m in milestones))


@factory
def one_cycle(
    *, rise: Probability = 0.3, start_divisor: PositiveFloat = 25.0, final_divisor: PositiveFloat = 1e4
) -> LrSchedule:
    """Cosine up from 1/start_divisor to 1 over `rise`, cosine down to 1/final_divisor. Smith & Topin, 2017."""

    def between(start: float, end: float, progress: float) -> float:
        return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2

    def schedule(step_: int, total: int) -> float:
        progress = step_ / max(1, total - 1)
        if progress < rise:
            return between(1 / start_divisor, 1.0, progress / rise)
        return between(1.0, 1 / final_divisor, (progress - rise) / max(1e-12, 1 - rise))

    return schedule
