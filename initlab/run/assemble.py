"""Assembles the training loop of a run and its probes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from initlab.errors import ConfigError
from initlab.network import sites
from initlab.probes import (
    AttentionLayers,
    DeadUnits,
    Observer,
    ProfileLog,
    RecurrentLayers,
    take_histograms,
    unit_spread,
)
from initlab.probes.histograms import spread
from initlab.run.prepare import Prepared
from initlab.spec import Experiment
from initlab.train import Checkpoints
from initlab.train.ranks import Ranks
from initlab.train.run import Run


def training_loop(
    experiment: Experiment,
    prepared: Prepared,
    *,
    profile: ProfileLog,
    checkpoints: Checkpoints,
    stop: Callable[[], bool],
    ranks: Ranks,
) -> Run:
    """The training loop of a prepared network, with the probes that the experiment enables.

    Raises:
        ConfigError: several processes for data whose hidden state is carried from batch to batch, or for a network that
            is to be compiled.
    """
    if not ranks.is_single and prepared.splits.streams:
        raise ConfigError(
            "trainer.ddp", True, "a text whose state is carried from batch to batch trains in one process"
        )
    if not ranks.is_single and experiment.trainer.compile:
        raise ConfigError("trainer.compile", True, "goes with one process; leave out trainer=ddp or trainer.compile")
    model, described, probes = ranks.sync_batch_norm(prepared.model), prepared.sites, experiment.probes
    known = prepared.context.activations
    attention = _attention_probe(prepared) if probes.enabled and probes.attention else None
    observer = Observer(
        model,
        described,
        settings=probes,
        activation=experiment.activation,
        activations=known,
        extra=[make() for make in experiment.extra_probes],
        spectral=attention is not None,
    )
    return Run(
        model=model,
        task=experiment.task,
        splits=prepared.splits,
        sites=described,
        optimizer=experiment.optimizer,
        lr_scale=prepared.initialised.initializer.lr_scale,
        lr_schedule=experiment.lr_schedule,
        settings=experiment.trainer,
        layout=prepared.layout,
        seed=experiment.seed,
        observer=observer if probes.enabled else None,
        dead=DeadUnits(model, described, experiment.activation, known)
        if probes.enabled and probes.dead_share
        else None,
        recurrent=_recurrent_probe(experiment, prepared) if probes.enabled and probes.recurrent else None,
        attention=attention,
        profile=profile,
        checkpoints=checkpoints,
        metric_sites=frozenset(metric_layers(experiment, prepared)),
        ranks=ranks,
        stop=stop,
    )


def metric_layers(experiment: Experiment, prepared: Prepared) -> tuple[str, ...]:
    """Names of the weights whose statistics are metrics: all, or a spread of them where they are many."""
    most = experiment.probes.max_metric_sites
    return tuple(s.name for s in spread(sites.weights(prepared.sites), most))


def _recurrent_probe(experiment: Experiment, prepared: Prepared) -> RecurrentLayers | None:
    if not any(s.role == "recurrent" for s in prepared.sites):
        return None
    inputs = prepared.splits.prepare(prepared.splits.val.x[: RecurrentLayers.EXAMPLES])
    return RecurrentLayers(
        prepared.model, prepared.sites, inputs, activation=experiment.activation, seed=experiment.seed
    )


def _attention_probe(prepared: Prepared) -> AttentionLayers | None:
    """The probe of a network in which something attends, None for any other."""
    inputs = prepared.splits.prepare(prepared.splits.val.x[: AttentionLayers.EXAMPLES])
    probe = AttentionLayers(prepared.model, inputs)
    return probe if probe.finds_attention() else None


def probe_once(
    experiment: Experiment, prepared: Prepared, profile: ProfileLog, *, moment: Literal["init", "end"], step: int
) -> None:
    """The probes taken at the start and the end only: histograms of activations, and the spread between units."""
    probes = experiment.probes
    if not probes.enabled:
        return
    if probes.histograms:
        batch = prepared.splits.prepare(prepared.splits.val.x[:256])
        profile.histograms(take_histograms(prepared.model, prepared.sites, batch, moment=moment))
    profile.rows(unit_spread(prepared.model, prepared.sites, step))
