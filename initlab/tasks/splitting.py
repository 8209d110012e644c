"""Stratified, seeded train/val/test splits. No example is in two parts.

The split of train from val follows the run's seed, so that seeds are replicates. Where a data set has no official test
part, one is cut off under a seed of its own, so that every run of every seed is judged on the same examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, TypedDict

import torch
from annotated_types import Gt, Lt
from torch import Tensor

from initlab.core import seeds
from initlab.errors import ConfigError, DataError
from initlab.spec import NonNegativeInt, Part, PositiveInt
from initlab.tasks.raw import RawData

#: a share of the examples: some of them, never all
Fraction = Annotated[float, Gt(0), Lt(1)]


class OfficialTestSettings(TypedDict, total=False):
    """Arguments of a data set with an official test part; see `Plan`."""

    val_fraction: Fraction
    shots: PositiveInt | None
    limit: PositiveInt | None
    episodes: PositiveInt | None


class SplitSettings(OfficialTestSettings, total=False):
    """Arguments of a data set from which a test part is cut; see `Plan`."""

    test_fraction: Fraction
    split_seed: NonNegativeInt


#: fields of `Plan` that mean nothing where the test part is official
TEST_FIELDS = ("test_fraction", "split_seed")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Settings of the train/val/test split.

    Attributes:
        val_fraction: share of the pool held out for validation, where the source has no official val part.
        test_fraction: share held out for the test, where the source has no official test part.
        split_seed: seed of that test part, the same for every run.
        shots: training examples per class; None takes all.
        episodes: how many draws of so few examples a run trains on, each from its own first weights; None is one.
        limit: training examples at most, in the proportions of the classes; None takes all.
    """

    val_fraction: Fraction = 0.1
    test_fraction: Fraction = 0.2
    split_seed: NonNegativeInt = 0
    shots: PositiveInt | None = None
    limit: PositiveInt | None = None
    episodes: PositiveInt | None = None

    def __post_init__(self) -> None:
        for key, value in (("val_fraction", self.val_fraction), ("test_fraction", self.test_fraction)):
            if not 0 < value < 1:
                raise ConfigError(key, value, "must be greater than 0 and less than 1")
        if self.shots is not None and self.limit is not None:
            raise ConfigError(
                "shots", self.shots, f"give one of shots and limit (limit={self.limit}); null turns one off"
            )
        if self.episodes is not None and self.shots is None and self.limit is None:
            raise ConfigError(
                "episodes", self.episodes, "needs data.shots=K or data.limit=N: draws of all examples would be the same"
            )


def partition(raw: RawData, plan: Plan, *, seed: int) -> tuple[Part, Part, Part]:
    """Splits `raw` into train, val and test.

    Args:
        raw: the data set as read.
        plan: how to cut it.
        seed: of the run; decides val, shots and limit, never the test part.

    Raises:
        DataError: where a class has too few examples to be in every part.
        ConfigError: where `shots` or `limit` ask for more, or less, than there is.
    """
    _check_counts(raw)
    rest = torch.arange(len(raw.pool))
    y = raw.pool.y
    test, val = raw.test, raw.val
    if test is None:
        chosen, rest = _hold_out(y, rest, plan.test_fraction, seeds.generator(plan.split_seed, "data", "test"))
        test = take(raw.pool, chosen)
    if val is None:
        chosen, rest = _hold_out(y, rest, plan.val_fraction, seeds.generator(seed, "data", "split"))
        val = take(raw.pool, chosen)
    if plan.shots is not None:
        rest = _shots(y, rest, plan.shots, seed=seed, names=raw.class_names)
    if plan.limit is not None:
        rest = _limit(y, rest, plan.limit, seed=seed, classes=len(raw.class_names))
    return take(raw.pool, rest), val, test


def take(part: Part, index: Tensor) -> Part:
    """Copies the examples of `part` at `index` (int64, any length); returns `part` itself where that is all of them."""
    if len(index) == len(part) and torch.equal(index, torch.arange(len(part))):
        return part
    return Part(x=part.x[index], y=part.y[index])


def allocate(counts: Sequence[int], total: int) -> list[int]:
    """Divide `total` over classes in the proportions of `counts`, each at least 1 and at most its count.

    Largest remainders (Hamilton's method), ties to the lower class. `total` lies between the number of classes and
    the sum of `counts`.
    """
    whole = sum(counts)
    shares = [count * total / whole for count in counts]
    given = [min(count, max(1, int(share))) for count, share in zip(counts, shares, strict=True)]
    while sum(given) != total:
        up = sum(given) < total
        open_ = [c for c in range(len(counts)) if (given[c] < counts[c] if up else given[c] > 1)]
        step = 1 if up else -1
        # the class that is furthest below (or above) its share
        best = max(open_, key=lambda c: (step * (shares[c] - given[c]), -c))
        given[best] += step
    return given


# ------------------------------------------------------------------ pieces
def _check_counts(raw: RawData) -> None:
    needed = 1 + (raw.val is None) + (raw.test is None)
    counts = torch.bincount(raw.pool.y, minlength=len(raw.class_names)).tolist()
    short = [f"{name!r} has {count}" for name, count in zip(raw.class_names, counts, strict=True) if count < needed]
    if len(raw.class_names) < 2:
        raise DataError(raw.key, None, f"{raw.provenance.name} has one class; a classifier needs at least 2")
    if short:
        parts = " + ".join(["train", *(["val"] if raw.val is None else []), *(["test"] if raw.test is None else [])])
        raise DataError(
            raw.key,
            None,
            f"{', '.join(short[:5])} examples; each class needs at least {needed} ({parts}). "
            "Add examples, or drop the class",
        )


def _by_class(y: Tensor, index: Tensor, generator: torch.Generator) -> list[Tensor]:
    """The members of each class among `index`, each class in a random order of its own."""
    members = [index[y[index] == c] for c in range(int(y.max()) + 1)]
    return [m[torch.randperm(len(m), generator=generator)] for m in members]


def _hold_out(y: Tensor, index: Tensor, fraction: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Splits into (held out, rest), both in storage order; every class keeps at least one example in each."""
    shuffled = _by_class(y, index, generator)
    room = [len(m) - 1 for m in shuffled]
    total = min(max(round(fraction * len(index)), len(shuffled)), sum(room))
    quota = allocate(room, total)
    out = torch.cat([m[:q] for m, q in zip(shuffled, quota, strict=True)])
    rest = torch.cat([m[q:] for m, q in zip(shuffled, quota, strict=True)])
    return out.sort().values, rest.sort().values


def _shots(y: Tensor, index: Tensor, shots: int, *, seed: int, names: Sequence[str]) -> Tensor:
    """`shots` of each class; fewer shots under the same seed are a subset of more."""
    shuffled = _by_class(y, index, seeds.generator(seed, "data", "shots"))
    short = [f"{name!r} has {len(m)}" for name, m in zip(names, shuffled, strict=True) if len(m) < shots]
    if short:
        raise ConfigError("data.shots", shots, f"too many: of the training examples, {', '.join(short[:5])}")
    return torch.cat([m[:shots] for m in shuffled]).sort().values


def _limit(y: Tensor, index: Tensor, limit: int, *, seed: int, classes: int) -> Tensor:
    if limit < classes:
        raise ConfigError("data.limit", limit, f"must be at least {classes}, one training example per class")
    if limit >= len(index):
        return index
    shuffled = _by_class(y, index, seeds.generator(seed, "data", "limit"))
    quota = allocate([len(m) for m in shuffled], limit)
    return torch.cat([m[:q] for m, q in zip(shuffled, quota, strict=True)]).sort().values
