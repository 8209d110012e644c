"""Whitened images and one-hot targets: the regression on which deep linear networks are studied."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from initlab.core.factories import factory
from initlab.errors import ConfigError
from initlab.spec import IO, Baseline, NonNegativeInt, Part, PositiveInt, Splits
from initlab.tasks.raw import RawData
from initlab.tasks.sources.idx import MNIST, read_idx_set
from initlab.tasks.sources.packaged import read_digits, read_mnist_mini
from initlab.tasks.splitting import Fraction, Plan, partition
from initlab.tasks.synthetic.task import SyntheticData, as_float

Source = Literal["mnist_mini", "digits", "mnist"]
#: of each source
_CLASSES = 10
Error = Literal["half_sum", "mean"]


@factory
def whitened_linear(
    *,
    source: Source = "mnist_mini",
    root: Path | None = None,
    components: PositiveInt = 50,
    error: Error = "half_sum",
    val_fraction: Fraction = 0.1,
    test_fraction: Fraction = 0.2,
    split_seed: NonNegativeInt = 0,
    limit: PositiveInt | None = None,
) -> SyntheticData:
    """Images on their first principal components, each with variance 1; targets are the one-hot classes.

    Saxe, McClelland & Ganguli, ICLR 2014, arXiv:1312.6120: with white inputs the course of a deep linear network
    (``model=mlp activation=identity``) has a closed form, and depth costs it no time from orthogonal weights.

    Args:
        source: ``mnist_mini`` (5,000 images, offline), ``digits`` (1,797 of 8 x 8, offline, needs no package) or
            ``mnist`` (70,000, fetched where absent).
        root: directory of data sets, for ``mnist``; None looks at INITLAB_DATA, then in the cache directory.
        components: principal components that are kept, of the training part's covariance.
        error: ``half_sum`` is ½‖y - ŷ‖² of an example, as in the paper; ``mean`` the squared error of a class, 2/C of
            that for C classes.
        val_fraction: share of the images, behind the test part, held out for validation.
        test_fraction: see `Plan`, as for the arguments after it.
        split_seed: of all parts, the same for every run, and so are the components.
        limit: see `Plan`.

    Raises:
        ConfigError: where opened: more components than the training part has directions with variance.
    """
    plan = Plan(val_fraction=val_fraction, test_fraction=test_fraction, split_seed=split_seed, limit=limit)
    make = partial(_make, partial(_read, source, root), plan, components, error)
    return SyntheticData(
        name="whitened_linear", make=make, numbers=True, factor=_CLASSES / 2 if error == "half_sum" else 1.0
    )


def whitening(x: Tensor, components: int) -> tuple[Tensor, Tensor]:
    """Mean (D,) of `x` (N, D), and the map (D, components) to its first principal components with variance 1; float64.

    The sign of a component is that with which its largest weight is positive.

    Raises:
        ConfigError: `x` has fewer directions with variance.
    """
    mean = x.mean(0)
    variance, directions = torch.linalg.eigh(torch.cov((x - mean).T, correction=0))
    variance, directions = variance.flip(0), directions.flip(1)
    rank = int((variance > 1e-10 * variance[0]).sum())
    if components > rank:
        raise ConfigError(
            "data.components", components, f"the training images vary in {rank} directions; {rank} or less"
        )
    kept = directions[:, :components]
    largest = kept.gather(0, kept.abs().argmax(0, keepdim=True))
    return mean, kept * largest.sign() / variance[:components].sqrt()


def _read(source: Source, root: Path | None) -> RawData:
    if source == "mnist":
        return read_idx_set(MNIST, root)
    return read_mnist_mini() if source == "mnist_mini" else read_digits()


def _make(load: Callable[[], RawData], plan: Plan, components: int, error: Error, seed: int) -> Splits:
    del seed  # the components follow the training part, and all seeds are judged by one test part
    raw = load()
    count = len(raw.class_names)
    parts = partition(raw, plan, seed=plan.split_seed)
    mean, directions = whitening(parts[0].x.flatten(1).double(), components)
    train, val, test = (
        Part(x=((p.x.flatten(1).double() - mean) @ directions).float(), y=F.one_hot(p.y, count).float()) for p in parts
    )
    factor = 1 / 2 if error == "half_sum" else 1 / count
    # a target has the squared norm 1; the constant answer is the shares of the classes
    constant = float((val.y - val.y.mean(0)).square().sum(1).mean()) * factor
    words = "½ E‖y‖² = 0.5" if error == "half_sum" else f"E y² = 1/{count} = {factor:.2g}"
    note = f"{raw.provenance.name}, {components} whitened principal components"
    return Splits(
        train=train,
        val=val,
        test=test,
        io=IO(input_shape=(components,), classes=count),
        prepare=as_float,
        augment=None,
        class_names=raw.class_names,
        provenance=replace(raw.provenance, name="whitened_linear", note=note),
        baseline=Baseline(untrained=factor, constant=constant, accuracy=None, words=words),
        notes=raw.notes,
    )
