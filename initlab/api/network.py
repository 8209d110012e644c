"""Describes, initialises and predicts one's own network."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from initlab import inits, theory
from initlab.advice.auto import auto
from initlab.api.gains import ActivationLike
from initlab.api.look import Batches, LossFunction, look_at, require_two
from initlab.api.results import PredictedNetwork, Sites
from initlab.errors import ConfigError
from initlab.network.graph import Graph, trace
from initlab.network.inputs import call, cloned, head, main_output
from initlab.network.state import preserve_state
from initlab.spec import Site

#: nats above the loss of guessing from which a loss before training is worth a word; unit logits give ½
LOUD = 0.65


def describe(model: nn.Module, example: Any = None) -> Sites:
    """Every parameter of `model` as a `Site`: its role, fans, gates, residual branch and the activation it feeds.

    Args:
        example: an input batch on the model's device: a tensor, a tuple of positional or a mapping of keyword
            arguments. A forward pass on it shows what every parameter is used for, however the network is written.
            Without it the order is that of registration, activations are known where they are modules, and residual
            branches are not known.

    Example:
        >>> sites = describe(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.zeros(2, 4))
        >>> [(s.name, s.role, s.fan_in) for s in sites if s.role != "bias"]
        [('0.weight', 'weight', 4.0), ('2.weight', 'head', 8.0)]
    """
    return Sites(look_at(model, example, activation=None).sites)


def initialize(
    model: nn.Module,
    name: str,
    *,
    activation: ActivationLike | None = None,
    example: Any = None,
    data: Iterable[Any] | None = None,
    loss: LossFunction | None = None,
    seed: int = 0,
    frozen: bool = False,
    **options: Any,
) -> inits.Applied:
    """Give every parameter of `model` its first value, in place.

    Args:
        model: any module, on any device. Mode, buffers, gradients and random number generators stay as they were.
        name: an initialiser of the catalogue, with or without arguments: ``"he"``, ``"normal(std=0.1)"``.
        activation: what the network's activations are, where what is recognised is not what is meant.
        example: an input batch, from which the network is read (see `describe`). By default the first inputs of
            `data`; without either, functions such as ``F.relu`` in forward() are not seen.
        data: batches (inputs, targets) for initialisers that look at data, such as a data loader; only as many are read
            as are needed.
        loss: of what the network returns and targets, for initialisers that look at gradients. By default the network's
            own loss where it returns one, cross entropy for classes, mean squared error for numbers.
        seed: the same seed gives the same values on every device.
        frozen: whether parameters with ``requires_grad=False`` are initialised too.
        options: keyword arguments of the initialiser; `keep=("name", "pattern*")` leaves parameters as they are.

    Returns:
        What was done to each parameter, and notes: what was kept, tied, not seen.

    Raises, and leaves the network bit for bit as it was:
        ConfigError: an unknown name or option, or a network that the initialiser is not for.
        UnclaimedParameterError: a parameter whose use is not known; `keep=("name",)` lets it be.

    Example:
        >>> initialize(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), "he").rules["0.weight"]
        'he'
    """
    if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError("name", name, "must be the name of an initialiser, such as 'he' or 'normal(std=0.1)'")
    batches = None if data is None else Batches(data, loss)
    if example is None and batches is not None:
        example = batches(0).inputs
    seen = look_at(model, example, activation=activation, batches=batches, seed=seed)
    if any("no activation was seen" in note for note in seen.notes):
        warnings.warn(f"initlab.initialize: {seen.notes[-1]}", stacklevel=2)
    if options:
        if "(" in name:
            raise ConfigError("name", name, "arguments stand either in the text or as keywords, not both")
        keep = options.get("keep")
        if isinstance(keep, str):
            options["keep"] = (keep,)
        name = f"{name}({', '.join(f'{k}={v!r}' for k, v in options.items())})"
    init = inits.parse_initializer(name, more={"auto": auto})
    done = inits.apply(model, seen.sites, init, context=seen.context, seed=seed, frozen=frozen)
    loud = () if example is None else _loud_output(model, example, seen.sites)
    return inits.Applied(done.initializer, done.rules, (*seen.notes, *done.notes, *loud))


def _loud_output(model: nn.Module, example: Any, sites: tuple[Site, ...]) -> tuple[str, ...]:
    """A note where the heads' output is larger than that of a classifier that knows nothing."""
    if not any(s.role == "head" for s in sites):
        return ()
    with torch.no_grad(), preserve_state(model):
        try:
            output = main_output(call(model.train(), cloned(example)))
        except Exception:  # of somebody's forward, which wants targets in training mode
            output = main_output(call(model.eval(), cloned(example)))
        if output is None or output.dim() < 2:
            return ()
        logits = output.detach().float().movedim(1, -1) if output.dim() == 4 else output.detach().float()
        # the mean over all targets of the cross entropy, less that of guessing
        excess = float((logits.logsumexp(-1) - logits.mean(-1)).mean()) - math.log(logits.shape[-1])
        size = float(logits.square().mean().sqrt())
    if excess <= LOUD:
        return ()
    return (
        f"the output has root mean square {size:.3g}: as logits, the loss starts {excess:.2g} above that of guessing; "
        "'auto' scales the head down, and so does a residual scheme where branches add up",
    )


def predict(model: nn.Module, inputs: Any, *, activation: ActivationLike | None = None) -> PredictedNetwork:
    """What mean-field theory says of `model` as it is initialised now: signal, correlation and gradient by layer.

    Args:
        inputs: a batch of two examples or more, on the model's device; what `describe` takes.
        activation: as in `initialize`.

    Returns:
        The prediction. What theory does not model is named in `out_of_scope`; its effect was measured instead.

    Example:
        >>> round(predict(nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)), torch.randn(8, 4)).depth)
        1
    """
    require_two(inputs, "inputs")
    seen = look_at(model, inputs, activation=activation)
    graph = graph_of(model, inputs)
    said = theory.predict(graph, seen.sites, theory.scales(model), seen.context)
    return PredictedNetwork(**vars(said))


def graph_of(model: nn.Module, inputs: Any, *, most: int | None = None) -> Graph:
    """The graph of a training pass with moments; of one in eval mode where training wants more than inputs."""
    few = inputs if most is None else head(inputs, most)
    with preserve_state(model):
        try:
            return trace(model.train(), few, moments=True)
        except Exception:  # of somebody's forward, which wants targets in training mode
            return trace(model.eval(), few, moments=True)
