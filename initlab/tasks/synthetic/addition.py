"""The adding problem: the target is the sum of two marked numbers of a sequence."""

from __future__ import annotations

from functools import partial

import torch

from initlab.core import seeds
from initlab.core.factories import factory
from initlab.errors import ConfigError
from initlab.spec import IO, Baseline, NonNegativeInt, Part, PositiveInt, Provenance, Splits
from initlab.tasks.raw import digest
from initlab.tasks.synthetic.task import SyntheticData, as_float

SOURCE = "made here; Hochreiter & Schmidhuber, Neural Computation, 1997, experiment 4; Le, Jaitly & Hinton, 2015"


@factory
def adding(
    *,
    length: PositiveInt = 100,
    examples: PositiveInt = 10_000,
    val_examples: PositiveInt = 1000,
    test_examples: PositiveInt = 1000,
    split_seed: NonNegativeInt = 0,
) -> SyntheticData:
    """At each step a number u ~ U(0, 1) and a mark; exactly two steps are marked, one in each half. What is their sum?

    Hochreiter & Schmidhuber, Neural Computation, 1997, with the numbers of Le, Jaitly & Hinton, arXiv:1504.00941, 2015.

    Args:
        length: steps T of a sequence.
        examples: sequences to train on, under the run's seed.
        val_examples: sequences to validate on, under `split_seed`.
        test_examples: sequences to test with, likewise.
        split_seed: the same for every run, so that all seeds are judged on the same sequences.

    To answer 1 always costs Var(u₁ + u₂) = 1/6, which a network that does not remember does not get below.
    """
    if length < 2:
        raise ConfigError("length", length, "must be 2 or more: two steps are marked")
    counts = (examples, val_examples, test_examples)
    return SyntheticData(name="adding", make=partial(_make, length, counts, split_seed), numbers=True)


def sequences(count: int, length: int, generator: torch.Generator) -> Part:
    """`count` sequences: x (count, 2, length) float32, the numbers and above 0 the marks 1; y (count, 1) their sum."""
    u = torch.rand(count, length, generator=generator)
    marks = torch.zeros(count, length)
    half = length // 2
    for low, high in ((0, half), (half, length)):
        marks.scatter_(1, torch.randint(low, high, (count, 1), generator=generator), 1.0)
    return Part(x=torch.stack([u, marks], dim=1), y=(u * marks).sum(1, keepdim=True))


def _make(length: int, counts: tuple[int, int, int], split_seed: int, seed: int) -> Splits:
    train, val, test = (
        sequences(count, length, seeds.generator(of, "data", "adding", part))
        for part, count, of in zip(("train", "val", "test"), counts, (seed, split_seed, split_seed), strict=True)
    )
    return Splits(
        train=train,
        val=val,
        test=test,
        io=IO(input_shape=(2, length), classes=1),
        prepare=as_float,
        augment=None,
        class_names=("sum",),
        provenance=Provenance(name="adding", source=SOURCE, digest=digest(train, val, test)),
        # E y² = Var(u₁ + u₂) + (E(u₁ + u₂))² = 1/6 + 1
        baseline=Baseline(untrained=7 / 6, constant=1 / 6, accuracy=None, words="E y² = 7/6 = 1.17"),
    )
