"""Sequential MNIST: handwritten digits, read pixel by pixel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from initlab.core import seeds
from initlab.core.factories import factory
from initlab.errors import ConfigError
from initlab.spec import IO, NonNegativeInt, Part, PositiveInt, Splits
from initlab.tasks import classes
from initlab.tasks.normalise import standardise
from initlab.tasks.raw import RawData
from initlab.tasks.sources.idx import MNIST, read_idx_set
from initlab.tasks.sources.packaged import read_mnist_mini
from initlab.tasks.splitting import Fraction, Plan, partition
from initlab.tasks.synthetic.task import SyntheticData

Source = Literal["mnist_mini", "mnist"]
_SIDE = 28


@factory
def sequential_mnist(
    *,
    source: Source = "mnist_mini",
    root: Path | None = None,
    pool: PositiveInt = 1,
    permute: bool = False,
    val_fraction: Fraction = 0.1,
    test_fraction: Fraction = 0.2,
    split_seed: NonNegativeInt = 0,
    shots: PositiveInt | None = None,
    limit: PositiveInt | None = None,
    episodes: PositiveInt | None = None,
) -> SyntheticData:
    """MNIST as sequences of one pixel a step, row by row, 784 steps. Le, Jaitly & Hinton, arXiv:1504.00941, 2015.

    Args:
        source: ``mnist_mini`` (5,000 images, offline) or ``mnist`` (70,000, fetched where absent).
        root: directory of data sets, for ``mnist``; None looks at INITLAB_DATA, then in the cache directory.
        pool: side of the squares of pixels that are averaged first: 2 makes 14 x 14 pixels, 196 steps.
        permute: read the pixels in one random order, the same for all images and drawn under `split_seed`, so that
            what belongs together lies far apart.
        val_fraction: see `Plan`, as for the arguments after it; `test_fraction` is for ``mnist_mini``.
        test_fraction: see `Plan`.
        split_seed: see `Plan`.
        shots: see `Plan`.
        limit: see `Plan`.
        episodes: see `Plan`.
    """
    if not 1 <= pool <= _SIDE // 2 or _SIDE % pool:
        raise ConfigError("pool", pool, "must divide 28 and leave something to read: 1, 2, 4, 7 or 14")
    plan = Plan(
        val_fraction=val_fraction,
        test_fraction=test_fraction,
        split_seed=split_seed,
        shots=shots,
        limit=limit,
        episodes=episodes,
    )
    load = read_mnist_mini if source == "mnist_mini" else partial(read_idx_set, MNIST, root)
    make = partial(_make, load, plan, pool=pool, permute=permute)
    return SyntheticData(name="sequential_mnist", make=make, episodes=episodes)


def as_sequence(x: Tensor, *, pool: int, order: Tensor | None) -> Tensor:
    """Images (N, 1, 28, 28) uint8 to sequences (N, 1, T) uint8; averages are rounded."""
    if pool > 1:
        x = F.avg_pool2d(x.float(), pool).round().to(torch.uint8)
    steps = x.flatten(2)
    return steps if order is None else steps[:, :, order]


def _make(load: Callable[[], RawData], plan: Plan, seed: int, *, pool: int, permute: bool) -> Splits:
    raw = load()
    steps = (_SIDE // pool) ** 2
    order = None
    if permute:
        order = torch.randperm(steps, generator=seeds.generator(plan.split_seed, "data", "permutation"))
    train, val, test = (
        Part(x=as_sequence(p.x, pool=pool, order=order), y=p.y) for p in partition(raw, plan, seed=seed)
    )
    count = len(raw.class_names)
    read = f"pixel by pixel, {steps} steps" + (", in a random order" if permute else "")
    provenance = replace(raw.provenance, name="sequential_mnist", note=f"{raw.provenance.name}, {read}")
    return Splits(
        train=train,
        val=val,
        test=test,
        io=IO(input_shape=(1, steps), classes=count),
        # black is no zero once standardised: a digit's dark last rows are not taken for padding
        prepare=standardise(train.x),
        augment=None,
        class_names=raw.class_names,
        provenance=provenance,
        baseline=classes.baseline(val.y, count),
        notes=raw.notes,
    )
