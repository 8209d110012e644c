"""Prepares a run: opens the data, builds and initialises the network, predicts its trainability."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import nn

from initlab import inits, theory
from initlab.activations import activations_of
from initlab.core import seeds
from initlab.core.memory import raise_if_memory
from initlab.diagnosis.assess import assess
from initlab.errors import ConfigError
from initlab.models.own import OwnNetwork, require_fit
from initlab.network import findings, sites
from initlab.network.graph import trace
from initlab.network.state import preserve_state
from initlab.probes import Snapshot
from initlab.run import process
from initlab.spec import (
    IO,
    Batch,
    Carrying,
    Experiment,
    InitContext,
    Outlook,
    Prediction,
    ProfileRow,
    Site,
    Splits,
    Training,
)
from initlab.train.layout import Layout, decide
from initlab.train.progress import planned_updates

#: examples in a batch that a data-driven initialiser looks at; fewer where each has many answers, but never below 16
INIT_EXAMPLES, INIT_ANSWERS = 256, 4096
#: examples of the pass from which the prediction takes its input moments
FORECAST_EXAMPLES = 64


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A network ready to train: data on its device, every parameter described and initialised."""

    device: torch.device
    splits: Splits
    model: nn.Module
    sites: tuple[Site, ...]
    context: InitContext
    initialised: inits.Applied
    layout: Layout = field(default_factory=Layout)
    at_start: findings.Start = field(default_factory=findings.Start)

    @property
    def parameters(self) -> int:
        return sum(p.numel() for p in self.model.parameters())


def prepare(experiment: Experiment, *, splits: Splits | None = None) -> Prepared:
    """Open the data, build the model, describe its parameters and initialise them. Writes nothing anywhere.

    Args:
        splits: the data, where it is open already.

    Raises:
        InitlabError: bad data, a model that does not fit it, a parameter without an initialiser.
    """
    device = process.device_of(experiment)
    splits = splits or experiment.task.open(seed=experiment.seed, device=device)
    model = _build(experiment, splits.io).to(device)
    if splits.streams and not isinstance(model, Carrying):
        splits = replace(splits, streams=False)  # a network that carries nothing on learns better from shuffled windows
    example = splits.prepare(splits.train.x[:2])
    layout = decide(experiment.trainer, model, example, own=isinstance(experiment.model, OwnNetwork))
    if layout.channels_last:
        model = model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    if isinstance(experiment.model, OwnNetwork):
        require_fit(model, example, splits.io, experiment.model.name)
    try:
        found = sites.survey(model, example)
    except (RuntimeError, ValueError) as error:
        raise_if_memory(error)
        raise ConfigError(
            "model", None, f"cannot take inputs of shape {splits.io.input_shape}: {first_line(error)}"
        ) from error
    context = InitContext(
        activation=experiment.activation,
        activations={**found.activations, **activations_of(model, experiment.activation)},
        batches=_batches(experiment, splits),
        seed=experiment.seed,
        training=training_of(experiment, splits),
    )
    try:
        done = inits.apply(model, found.sites, experiment.init, context=context, seed=experiment.seed)
    except ConfigError as error:
        raise (error if error.key.startswith("init") else error.under("init")) from error
    return Prepared(
        device=device, splits=splits, model=model, sites=found.sites, context=context, initialised=done,
        layout=layout, at_start=findings.at_start(model, found.sites),
    )  # fmt: skip


def _batches(experiment: Experiment, splits: Splits) -> Callable[[int], Batch]:
    """Batches for initialisers that look at data: of the training part, the same for every arm under one seed."""

    answers = splits.train.y.numel() // max(1, len(splits.train))
    examples = max(16, min(INIT_EXAMPLES, INIT_ANSWERS // answers))

    def batch(i: int) -> Batch:
        # train.x may hold fewer; a permutation of its own for each i, so that batches are independent of one another
        order = torch.randperm(len(splits.train), generator=seeds.generator(experiment.seed, "init", f"batch{i}"))
        index = order[:examples].to(splits.train.y.device)
        return Batch(
            inputs=splits.prepare(splits.train.x[index]), targets=splits.train.y[index], loss=experiment.task.loss
        )

    return batch


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """Prediction and measurement of a network before its first update."""

    prediction: Prediction
    seen: Snapshot
    outlook: Outlook


def foresee(prepared: Prepared) -> Forecast:
    """Prediction, a look at two batches, and the outlook. Training is bit for bit the same after it."""
    prediction = predict(prepared)
    found = assess(
        prepared.model, prepared.sites, prepared.context, prediction,
        untrained_loss=prepared.splits.baseline.untrained,
    )  # fmt: skip
    return Forecast(prediction=prediction, seen=found.seen, outlook=found.outlook)


def training_of(experiment: Experiment, splits: Splits) -> Training:
    """Optimiser and number of updates of the whole run, as its settings say."""
    return Training(
        optimizer=experiment.optimizer,
        updates=updates_of(experiment, splits),
        untrained_loss=splits.baseline.untrained,
        clip=experiment.trainer.clip_grad_norm,
    )


def updates_of(experiment: Experiment, splits: Splits) -> int:
    """Number of updates of the whole run, as its settings say."""
    return planned_updates(experiment.trainer, splits)


def predict(prepared: Prepared) -> Prediction:
    """What mean-field theory says of the prepared network, from the inputs' moments on a batch."""
    assert prepared.context.batches is not None
    inputs = prepared.context.batches(0).inputs[:FORECAST_EXAMPLES]
    with preserve_state(prepared.model):
        graph = trace(prepared.model.train(), inputs, moments=True)
    return theory.predict(graph, prepared.sites, theory.scales(prepared.model), prepared.context)


def forecast_rows(forecast: Forecast) -> tuple[ProfileRow, ...]:
    """Theory and measurement of each layer at step 0, as rows of the profile, so that the two can be drawn together."""
    keys = ("q", "c", "log10_gradient", "saturated")
    pairs = (("predicted", forecast.prediction.layers), ("measured", forecast.seen.layers))
    return tuple(
        ProfileRow(step=0, site=r.site, order=r.order, statistic=f"{source}_{k}", value=float(getattr(r, k)))
        for source, rows in pairs
        for r in rows
        for k in keys
    )


def _build(experiment: Experiment, io: IO) -> nn.Module:
    try:
        # what no initialiser draws has the value of its constructor: the same under the same seed
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seeds.derive(experiment.seed, "init", "constructor"))
            return experiment.model(io, experiment.activation)
    except ConfigError as error:
        raise (error if error.key.startswith(("model", "activation")) else error.under("model")) from error


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its type where it has none."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
