"""Two schedulers over a change to or from summer time, one of which is killed."""

from __future__ import annotations

import random

from tests.operations.schedule.summer_time import CHANGES, strike
from tests.reliability.rounds import Bench
from tests.reliability.rows import row


@row("scheduler killed over a change of the clock", rounds=8)
def changed(bench: Bench, draw: random.Random, name: str) -> tuple[int, list[str]]:
    """Each time that was due is begun once, by whichever of them."""
    change = draw.choice(CHANGES)
    wrong = strike(change, bench.folder / name, draw, kill=True)
    return 1, [f"{change.zone}, {change.moment:%d %B}: {w}" for w in wrong]
