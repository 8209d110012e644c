"""The coordinate check of one's own network: `coordinate_check`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import nn

from initlab import inits
from initlab.advice.auto import auto
from initlab.api.gains import ActivationLike
from initlab.api.look import LossFunction, fitting_batch, look_at
from initlab.errors import ConfigError, one_of
from initlab.scaling import CoordinateCheck, Subject, check_coordinates
from initlab.train import optimizers
from initlab.train.optimizers import parameter_groups


def coordinate_check(
    build: Callable[[int], nn.Module],
    batch: Any,
    *,
    widths: Sequence[int] = (64, 128, 256, 512),
    init: str | None = None,
    optimizer: Literal["adam", "sgd"] | Callable[[nn.Module], torch.optim.Optimizer] = "adam",
    lr: float = 2.0**-8,
    steps: int = 4,
    seeds: int = 3,
    loss: LossFunction | None = None,
    activation: ActivationLike | None = None,
    axis: Literal["width", "depth"] = "width",
) -> CoordinateCheck:
    """Whether a network moves alike at every width: trains it for a few steps at several, and compares activations.

    For every module with weights, every block of a list, attention's logits and the output it measures
    mean|x(t) - x(0)| on the batch that is trained on, and the slope of its logarithm against that of the width.
    Yang et al., Tensor Programs V, 2022, appendix D.1.

    Args:
        build: width → a new network; modules have the same names at every width. It is called under a seed of torch's.
        batch: (inputs, targets), as for `inspect`; one batch, used in every step.
        widths: two or more; four over a factor of eight tell slopes apart.
        init: an initialiser of the catalogue, whose multipliers of rates then count; None leaves the values of `build`.
        optimizer: ``adam`` or ``sgd`` (without momentum), or a function that makes the optimiser of a network, with its
            own groups: that is how a μP of one's own is tested.
        lr: of ``adam`` and ``sgd``; larger than for training, so that what grows is seen.
        steps: updates.
        seeds: draws, from 0 on; the interval of each slope is over these.
        loss: as in `initialize`.
        activation: as in `initialize`.
        axis: what `build` is given: a width, or a depth.

    Returns:
        The check: print it, or see `passed`, `rows()` and `plot()`.

    Raises:
        ConfigError: fewer than two widths, or an unknown optimiser or initialiser.

    Example:
        >>> x, y = torch.randn(64, 8), torch.randint(3, (64,))
        >>> def build(n):
        ...     return nn.Sequential(nn.Linear(8, n), nn.ReLU(), nn.Linear(n, n), nn.ReLU(), nn.Linear(n, 3))
        >>> initlab.coordinate_check(build, (x, y), widths=(32, 64, 128, 256), init="he").verdict
        'fail'
    """
    if steps < 1 or seeds < 1:
        raise ConfigError("steps" if steps < 1 else "seeds", steps if steps < 1 else seeds, "must be 1 or more")
    if isinstance(optimizer, str) and optimizer not in ("adam", "sgd"):
        raise ConfigError("optimizer", optimizer, f"{one_of(('adam', 'sgd'), optimizer)}, or a function")
    chosen = None if init is None else inits.parse_initializer(init, more={"auto": auto})

    def make(width: int, seed: int) -> Subject:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = build(width)
        given = fitting_batch(model, batch, loss)
        if chosen is None and callable(optimizer):
            return Subject(model=model, optimizer=optimizer(model), batch=given)
        seen = look_at(model, given.inputs, activation=activation, batches=lambda _i: given, seed=seed)
        scale, notes = None, ()
        if chosen is not None:
            done = inits.apply(model, seen.sites, chosen, context=seen.context, seed=seed)
            scale, notes = done.initializer.lr_scale, done.notes
        if callable(optimizer):
            return Subject(model=model, optimizer=optimizer(model), batch=given, notes=notes)
        factory = optimizers.adam(lr=lr) if optimizer == "adam" else optimizers.sgd(lr=lr, momentum=0.0)
        groups = parameter_groups(model, seen.sites, scale)
        return Subject(model=model, optimizer=factory(groups), batch=given, notes=notes)

    words = f"{optimizer}, lr {lr:g}" if isinstance(optimizer, str) else "an optimiser of the caller's"
    return check_coordinates(make, widths, axis=axis, seeds=tuple(range(seeds)), steps=steps, optimizer=words)
