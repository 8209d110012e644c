"""What could be taken: initialisations for a network with one activation, each looked at before training."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import nn

from initlab import inits, theory
from initlab.advice.auto import candidates
from initlab.diagnosis import trainability
from initlab.errors import InitlabError
from initlab.network.graph import trace
from initlab.network.hooks import preserve_state
from initlab.probes import lag_peak, snapshot
from initlab.spec import InitContext, Initializer, Outlook, Site

#: examples of the pass from which the prediction takes its input moments
_EXAMPLES = 64
#: what torch does where nobody says anything, to be compared with
DEFAULT = "torch_default"


@dataclass(frozen=True, kw_only=True)
class Option:
    """One initialisation with one activation, before training.

    Attributes:
        why: it is among the candidates.
        risk: of `trainability.risk`; inf where a value was not finite.
        outlook: None where the scheme is not for this network; `refused` then says why.
        plain: whether theory has a depth scale for the network and knows all of its operations.
    """

    init: str
    activation: str
    why: str
    risk: float = math.inf
    outlook: Outlook | None = None
    plain: bool = False
    refused: str = ""


def evaluate_options(
    model: nn.Module,
    sites: tuple[Site, ...],
    context: InitContext,
    *,
    activation: str,
    seed: int,
    untrained_loss: float,
    also: tuple[Initializer, ...] = (),
) -> tuple[Option, ...]:
    """Draw each candidate into `model` in turn and look at it; the usual favourite first, torch's default last.

    The model keeps the values that were drawn last: hand over one that is there to be drawn into.

    Args:
        context: with batches.
        activation: the name that the options carry.
        untrained_loss: of an answer that says nothing of its input.
        also: initialisers beside those made for the network's structure.
    """
    listed = [(c.initializer, c.why) for c in candidates(sites, context)]
    listed += [(i, "as was asked") for i in also if i.name not in {c.name for c, _ in listed}]
    if DEFAULT not in {c.name for c, _ in listed}:
        listed.append((inits.torch_default(), "what torch's layers do by themselves"))
    found: list[Option] = []
    for initializer, why in listed:
        option = Option(init=initializer.name, activation=activation, why=why)
        try:
            inits.apply(model, sites, initializer, context=context, seed=seed)
            found.append(_evaluate(option, model, sites, context, untrained_loss))
        except InitlabError as error:
            reason = getattr(error, "expected", None) or str(error)
            found.append(Option(init=option.init, activation=activation, why=why, refused=str(reason)))
    return tuple(found)


def _evaluate(
    option: Option, model: nn.Module, sites: tuple[Site, ...], context: InitContext, untrained_loss: float
) -> Option:
    assert context.batches is not None
    batch = context.batches(0)
    with preserve_state(model):
        graph = trace(model.train(), batch.inputs[:_EXAMPLES], moments=True)
    said = theory.predict(graph, sites, theory.scales(model), context)
    seen, peak = snapshot(model, sites, batch, context), lag_peak(model, sites, context)
    return Option(
        init=option.init, activation=option.activation, why=option.why,
        risk=trainability.risk(said, seen, peak).total,
        outlook=trainability.judge(said, seen, untrained_loss=untrained_loss, lag_peak=peak),
        plain=not math.isnan(said.trainable_depth) and not said.out_of_scope,
    )  # fmt: skip


def unpredicted_parts(sites: tuple[Site, ...]) -> str:
    """What the network is made of that the prediction says nothing of; empty where there is nothing of the kind."""
    if any(s.role == "recurrent" for s in sites):
        return "recurrent layers"
    return "attention" if any(s.kind == "attention" for s in sites) else ""
