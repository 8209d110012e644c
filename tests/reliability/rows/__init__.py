"""The rows of the fault table. A row is a function in a file of this folder, with its name and its number of rounds:

    @row("the moon falls down", rounds=10)
    def moon(bench: Bench, draw: random.Random, name: str) -> tuple[int, list[str]]:

It strikes at a moment of `draw`'s choice, below the folder `bench.folder / name`, and returns how many strikes that
was, and a sentence for each thing that does not hold afterwards.
"""

from __future__ import annotations

import pkgutil
import random
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from tests.reliability.rounds import Bench

Strike = Callable[[Bench, random.Random, str], tuple[int, list[str]]]


@dataclass(frozen=True, kw_only=True)
class Row:
    """A kind of fault.

    Attributes:
        name: in the table.
        strike: one round.
        rounds: of a full table.
        alone: it strikes a server that other rows use too, so that nothing else may run meanwhile.
    """

    name: str
    strike: Strike
    rounds: int
    alone: bool = False


_ROWS: dict[str, Row] = {}


def row(name: str, *, rounds: int, alone: bool = False) -> Callable[[Strike], Strike]:
    """Puts the function below into the table."""

    def put(strike: Strike) -> Strike:
        _ROWS[name] = Row(name=name, strike=strike, rounds=rounds, alone=alone)
        return strike

    return put


def table() -> dict[str, Row]:
    """All rows by name, in the order of their files."""
    for module in sorted(m.name for m in pkgutil.iter_modules(__path__)):
        import_module(f"{__name__}.{module}")
    return dict(_ROWS)
