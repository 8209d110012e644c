"""The copy memory problem: repeat ten symbols after a long delay."""

from __future__ import annotations

import math
from functools import partial

import torch

from initlab.core import seeds
from initlab.core.factories import factory
from initlab.spec import IO, Baseline, NonNegativeInt, Part, PositiveInt, Provenance, Splits
from initlab.tasks.raw import digest
from initlab.tasks.synthetic.task import SyntheticData, as_tokens

SOURCE = "made here; Arjovsky, Shah & Bengio, ICML 2016, section 4.2"
SYMBOLS = 10  # that are to be remembered, S
ALPHABET = 8
BLANK, DELIMITER = ALPHABET, ALPHABET + 1


@factory
def copy_memory(
    *,
    length: PositiveInt = 100,
    examples: PositiveInt = 10_000,
    val_examples: PositiveInt = 1000,
    test_examples: PositiveInt = 1000,
    split_seed: NonNegativeInt = 0,
) -> SyntheticData:
    """Ten symbols of 8, `length` - 1 blanks, a delimiter, ten blanks; to answer: blanks, and the symbols at the end.

    Arjovsky, Shah & Bengio, ICML 2016; after Hochreiter & Schmidhuber, 1997. Sequences have T = `length` + 20 steps.

    Args:
        length: steps over which the symbols are to be remembered.
        examples: sequences to train on, under the run's seed.
        val_examples: sequences to validate on, under `split_seed`.
        test_examples: sequences to test with, likewise.
        split_seed: the same for every run, so that all seeds are judged on the same sequences.

    A network that knows when to speak and not what says 10 ln 8/T nats a step.
    """
    counts = (examples, val_examples, test_examples)
    return SyntheticData(name="copy_memory", make=partial(_make, length, counts, split_seed))


def sequences(count: int, length: int, generator: torch.Generator) -> Part:
    """`count` sequences: x (count, length + 20) uint8, y (count, length + 20) int64."""
    symbols = torch.randint(ALPHABET, (count, SYMBOLS), generator=generator)
    x = torch.full((count, length + 2 * SYMBOLS), BLANK)
    x[:, :SYMBOLS] = symbols
    x[:, SYMBOLS + length - 1] = DELIMITER
    y = torch.full_like(x, BLANK)
    y[:, -SYMBOLS:] = symbols
    return Part(x=x.to(torch.uint8), y=y)


def _make(length: int, counts: tuple[int, int, int], split_seed: int, seed: int) -> Splits:
    train, val, test = (
        sequences(count, length, seeds.generator(of, "data", "copy_memory", part))
        for part, count, of in zip(("train", "val", "test"), counts, (seed, split_seed, split_seed), strict=True)
    )
    steps = length + 2 * SYMBOLS
    answers = ALPHABET + 1  # the delimiter is never one
    return Splits(
        train=train,
        val=val,
        test=test,
        io=IO(input_shape=(steps,), classes=answers, vocabulary=ALPHABET + 2, per_step=True),
        prepare=as_tokens,
        augment=None,
        class_names=(*map(str, range(ALPHABET)), "blank"),
        provenance=Provenance(name="copy_memory", source=SOURCE, digest=digest(train, val, test)),
        baseline=Baseline(
            untrained=math.log(answers),
            constant=SYMBOLS * math.log(ALPHABET) / steps,
            accuracy=(steps - SYMBOLS + SYMBOLS / ALPHABET) / steps,
            words=f"ln {answers} = {math.log(answers):.2f}",
        ),
    )
