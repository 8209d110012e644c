"""Evaluates candidate initialisations for a network and an activation, before training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from initlab import inits, theory
from initlab.advice.auto import MARGIN, candidates, margin_of, with_kept
from initlab.core.text import listed
from initlab.diagnosis.assess import assess
from initlab.errors import InitlabError
from initlab.network.graph import Graph, trace
from initlab.network.inputs import head
from initlab.network.state import preserve_state
from initlab.spec import InitContext, Initializer, Outlook, Prediction, Site
from initlab.theory.predict import names_attention

#: number of examples from which the input moments of the prediction are computed
_EXAMPLES = 64
#: torch's default initialisation, for comparison
DEFAULT = "torch_default"


@dataclass(frozen=True, kw_only=True)
class Option:
    """One initialisation with one activation, before training.

    Attributes:
        why: reason for being a candidate.
        risk: of `trainability.risk`; inf where a value was not finite.
        margin: how much lower the rank of a later option must be than that of this one.
        rank: by which options are compared, the lower the better; of `Assessment.rank`.
        outlook: None where the scheme does not suit this network; `refused` then says why.
        plain: whether theory has a depth scale for the network and covers all of its operations.
        unsure: why it is not plain. unknown: what the prediction does not cover; empty where it covers all.
    """

    init: str
    activation: str
    why: str
    risk: float = math.inf
    rank: float = math.inf
    margin: float = MARGIN
    outlook: Outlook | None = None
    plain: bool = False
    unsure: str = ""
    unknown: str = ""
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
    keep: tuple[str, ...] = (),
    frozen: bool = False,
) -> tuple[Option, ...]:
    """Draw each candidate into `model` in turn and evaluate it; the usually best first, torch's default last.

    The model keeps the values of the last draw: pass a copy.

    Args:
        context: with batches.
        activation: name of the activation in the options.
        untrained_loss: loss of an answer that is independent of the input.
        also: initialisers beside those made for the network's structure.
    """
    listed = [(c.initializer, c.why) for c in candidates(sites, context)]
    listed += [(i, "as was asked") for i in also if i.name not in {c.name for c, _ in listed}]
    if DEFAULT not in {c.name for c, _ in listed}:
        listed.append((inits.torch_default(), "the default of torch's layers"))
    found: list[Option] = []
    for initializer, why in listed:
        option = Option(init=initializer.name, activation=activation, why=why)
        try:
            inits.apply(model, sites, with_kept(initializer, keep), context=context, seed=seed, frozen=frozen)
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
        graph = trace(model.train(), head(batch.inputs, _EXAMPLES), moments=True)
    said = theory.predict(graph, sites, theory.scales(model), context)
    found = assess(model, sites, context, said, untrained_loss=untrained_loss)
    return Option(
        init=option.init, activation=option.activation, why=option.why, risk=found.risk, rank=found.rank,
        margin=margin_of(sites, context),
        outlook=found.outlook, plain=not math.isnan(said.trainable_depth) and not said.out_of_scope,
        unsure=_unsure(graph, said), unknown=unknown_parts(sites, said),
    )  # fmt: skip


def _unsure(graph: Graph, said: Prediction) -> str:
    """Why the prediction was not checked on networks like this one."""
    if said.out_of_scope:
        return f"it has {listed(list(said.out_of_scope))}, which theory does not cover"
    if any(n.op in ("sum", "norm", "product") for n in graph.nodes):
        return "it has shortcuts, norms or products, on which the prediction was not checked"
    return "it has too few layers for a depth scale" if math.isnan(said.trainable_depth) else ""


def unknown_parts(sites: tuple[Site, ...], said: Prediction, *, stream_known: bool = False) -> str:
    """What was not seen of the network, so that its prediction says nothing of it.

    Args:
        stream_known: whether theory speaks of the blocks in which the network attends.
    """
    parts = [p for p in said.out_of_scope if not p.startswith("correlation through")]
    if stream_known:
        parts = [p for p in parts if not names_attention(p)]
    matrices = sum(s.role in ("weight", "head") and not s.unused for s in sites)
    if not said.layers and matrices > 1:
        return "a network in which no activation is recognised"
    if any(names_attention(p) and not p.startswith("attention ") for p in parts):
        return "attention"
    return listed(parts)


def unpredicted(sites: tuple[Site, ...], options: Sequence[Option]) -> str:
    """Parts of the network that the prediction of its options does not cover; empty where it covers all."""
    return unpredicted_parts(sites) or next((o.unknown for o in options if o.outlook is not None), "")


def unpredicted_parts(sites: tuple[Site, ...]) -> str:
    """Parts of the network that the prediction does not cover; empty where it covers all."""
    if any(s.role == "recurrent" for s in sites):
        return "recurrent layers"
    return "attention" if any(s.kind == "attention" for s in sites) else ""
