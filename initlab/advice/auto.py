"""`init=auto`: chooses an initialisation from the network structure and one batch, and gives its reasons.

Candidates that suit the structure are drawn in turn, each is evaluated before training (prediction and one forward and
backward pass; in a run also the first update of its optimiser), and the one with the best prospects is chosen: the
probability that the run trains, or the risk where no optimiser is known. Both rank the results of training
(docs/predictor.md), but not differences of a per cent; between candidates with nearly the same prospects the earlier
one in the list is chosen. The list is in the order in which they did best on the networks of docs/auto.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from initlab import inits, theory
from initlab.core import seeds
from initlab.core.factories import factory
from initlab.diagnosis.assess import Assessment, assess
from initlab.errors import ConfigError, InitlabError
from initlab.inits.apply import draw_all
from initlab.inits.streaming import deterministic_training_mode, exclude_kept
from initlab.network.graph import trace
from initlab.network.inputs import call, cloned, head, main_output, own_loss
from initlab.network.state import preserve_state
from initlab.spec import InitContext, Initializer, NonNegativeFloat, Outlook, Site

#: a later candidate must be better by this much to be preferred to an earlier one: ten times the odds that the run
#: trains, where optimiser and length are known, else one unit of risk
MARGIN = 1.0
#: probability from which on a candidate is more likely to train than not
LIKELY = 0.5
#: the margin for networks with gated units, on which the prediction was not fitted
GATED_MARGIN = 2.0
#: logits of a larger root mean square than this are scaled down at the head
LOUD_LOGITS = 1.0
#: share of the entropy ln(classes) below which the classes are reported as imbalanced
BALANCED = 0.98


@dataclass(frozen=True)
class Candidate:
    """An initialiser to try, and why it is in the list."""

    initializer: Initializer
    why: str


@factory
def auto(*, margin: NonNegativeFloat = MARGIN, head: bool = True, keep: tuple[str, ...] = ()) -> Initializer:
    """Choose scheme, gain and corrections from the network's sites and one batch, with the reasons.

    Reads the structure (residual branches, norms, recurrent layers, embeddings, activations), evaluates the schemes
    made for it, and chooses the one with the best prospects before training. Then corrects the head: logits of a root
    mean square above 1 are scaled down, and where the classes are imbalanced its bias becomes the log prior. Needs
    data; costs a draw and one to five forward and backward passes for each candidate (about five).

    Args:
        margin: how much better a later candidate must be: log10 of the odds that the run trains; units of risk where
            no optimiser is known.
        head: whether the head is corrected.
        keep: name patterns of parameters that keep their module's own value.
    """
    fallback = inits.he()

    def plan(model: nn.Module, sites: tuple[Site, ...], context: InitContext) -> tuple[Initializer, tuple[str, ...]]:
        if context.batches is None:
            raise ConfigError("init", "auto", "needs data: it runs a batch through the network")
        listed = candidates(sites, context)
        tried: list[tuple[Assessment | None, Candidate]] = []
        words: list[str] = []
        calibrated = False
        refused: list[str] = []
        for candidate in listed:
            kept = with_kept(candidate.initializer, keep)
            try:
                while kept.plan is not None:
                    kept, _ = kept.plan(model, sites, context)
                found = _assess(model, sites, kept, context)
            except ConfigError as error:
                refused.append(f"{candidate.initializer.name} ({error.expected})")
                continue
            tried.append((found, replace(candidate, initializer=kept)))
            words.append(f"{kept.name} {_text(found)}")
            calibrated = calibrated or (found is not None and found.outlook.calibrated)
        if not tried:
            raise InitlabError(f"init=auto: no scheme suits this network: {'; '.join(refused)}")
        by_probability = is_likely(found.outlook for found, _ in tried if found is not None)
        ranked = [(rank_of(found, by_probability=by_probability), candidate) for found, candidate in tried]
        best = ranked[0]
        needed = margin * margin_of(sites, context)
        for rank, candidate in ranked[1:]:
            if rank < best[0] - needed:
                best = (rank, candidate)
        chosen = best[1]
        reasons = (
            f"auto: {_structure(sites, context)}",
            f"auto: {'probability that it trains' if calibrated else 'risk before training'}: {', '.join(words)}"
            + (f"; not for this network: {'; '.join(refused)}" if refused else ""),
            f"auto: {chosen.initializer.name}, {chosen.why}"
            + ("; none is likely to train, so the risk decided" if calibrated and not by_probability else ""),
        )
        corrections = tuple(exclude_kept(step, keep) for step in (_scale_head, _set_log_prior)) if head else ()
        return replace(chosen.initializer, adapt=(*chosen.initializer.adapt, *corrections)), reasons

    return Initializer(
        name="auto", weight=fallback.weight, bias=fallback.bias, embedding=fallback.embedding, keep=keep, plan=plan
    )


def candidates(sites: tuple[Site, ...], context: InitContext) -> tuple[Candidate, ...]:
    """The schemes that are made for a network of this structure, the usually best first."""
    branches = [s for s in sites if s.branch is not None]
    norms = any(s.kind == "norm" for s in sites)
    recurrent = any(s.role == "recurrent" for s in sites)
    attention = any(s.kind == "attention" for s in sites)
    found: list[Candidate] = []
    if (branches or _has_gates(sites, context)) and not (recurrent or attention):
        found.append(
            Candidate(
                inits.torch_default(),
                "torch's small weights, since the signal of shortcuts and gates grows with larger ones",
            )
        )
    if recurrent:
        found.append(Candidate(inits.recurrent(), "orthogonal recurrent matrices per gate, forget bias 1"))
    if attention:
        found.append(Candidate(inits.gpt2(), "small weights, ends of branches scaled with depth, as transformers have"))
    if branches and not norms:
        found.append(Candidate(inits.residual_scaled(), "residual branches without norms, scaled with their number"))
        found.append(Candidate(inits.fixup(), "residual branches without norms begin as the identity"))
    found += [
        Candidate(inits.lsuv(), "orthonormal weights with unit output variance on data, layer by layer"),
        Candidate(inits.orthogonal(), "equal singular values at the forward gain of the activation"),
        Candidate(inits.he(), "the forward gain of the activation"),
        Candidate(inits.xavier(), "unit gain, between forward and backward"),
        Candidate(inits.edge_of_chaos(), "the critical weights and biases of the activation"),
    ]
    if branches and norms:
        found.append(Candidate(inits.zero_gamma(), "branches that end in a norm begin as the identity"))
    seen: dict[str, Candidate] = {}
    for candidate in found:
        seen.setdefault(candidate.initializer.name, candidate)
    return tuple(seen.values())


def is_likely(outlooks: Iterable[Outlook]) -> bool:
    """Whether a candidate is more likely to train than not: only then the probability tells them apart.

    Where all are unlikely, the risk does, which is what depth does to signal and gradient.
    """
    return any(o.calibrated and o.score >= LIKELY for o in outlooks)


def rank_of(found: Assessment | None, *, by_probability: bool) -> float:
    """By which candidates are compared, the lower the better."""
    if found is None:
        return math.inf
    return found.rank if by_probability or not found.outlook.calibrated else found.risk


def margin_of(sites: tuple[Site, ...], context: InitContext) -> float:
    """How much better a less usual candidate must be in this network."""
    return GATED_MARGIN if _has_gates(sites, context) else MARGIN


def _has_gates(sites: tuple[Site, ...], context: InitContext) -> bool:
    """Whether units are multiplied by others: GLU and its kin, written as an activation or by hand."""
    return context.activation.gate is not None or any(s.gated for s in sites)


def with_kept(init: Initializer, keep: tuple[str, ...]) -> Initializer:
    """`init`, which leaves parameters that match a pattern of `keep` unchanged."""
    return replace(init, keep=(*init.keep, *keep), adapt=tuple(exclude_kept(step, keep) for step in init.adapt))


# ------------------------------------------------------------------ evaluating one candidate
def _assess(model: nn.Module, sites: tuple[Site, ...], init: Initializer, context: InitContext) -> Assessment | None:
    """Draw `init` into the model and look at it; None where a value was not finite already while it was drawn."""
    assert context.batches is not None
    if init.check is not None:
        init.check(sites, context)
    try:
        draw_all(model, sites, init, context)
        for step in init.adapt:
            step(model, sites, context)
    except ConfigError:
        raise
    except InitlabError:
        return None
    batch = context.batches(0)
    with preserve_state(model):
        _seed_dropout(model, context.seed)
        model.train()
        graph = trace(model, head(batch.inputs, 64), moments=True)
        prediction = theory.predict(graph, sites, theory.scales(model), context)
        untrained = math.nan if context.training is None else context.training.untrained_loss
        return assess(model, sites, context, prediction, untrained_loss=untrained)


def _seed_dropout(model: nn.Module, seed: int) -> None:
    """Seed dropout for an evaluation, so that the choice does not depend on earlier draws."""
    number = seeds.derive(seed, "init", "auto")
    torch.default_generator.manual_seed(number)
    # torch.manual_seed would also seed devices that the model is not on, which nothing restores
    for index in sorted({p.device.index or 0 for p in model.parameters() if p.device.type == "cuda"}):
        torch.cuda.default_generators[index].manual_seed(number)


def _structure(sites: tuple[Site, ...], context: InitContext) -> str:
    layers = sum(s.role == "weight" for s in sites)
    count = max((s.branch.count for s in sites if s.branch is not None), default=0)
    names = sorted({a.name for s in sites if (a := context.after(s)) is not None})
    parts = [f"{layers} weight layers with {', '.join(names) or 'no activation'}"]
    if count:
        parts.append(f"{count} residual branches")
    if any(s.kind == "norm" for s in sites):
        parts.append("norms")
    if any(s.role == "recurrent" for s in sites):
        parts.append("recurrent layers")
    return ", ".join(parts)


# ------------------------------------------------------------------ corrections
def _scale_head(model: nn.Module, sites: tuple[Site, ...], context: InitContext) -> tuple[str, ...]:
    """Scale the head so that the logits' root mean square is at most 1: larger logits are unfounded confidence."""
    heads = [s.name for s in sites if s.role == "head"]
    if not heads:
        return ()
    assert context.batches is not None
    with deterministic_training_mode(model), torch.no_grad():
        output = main_output(call(model, cloned(context.batches(0).inputs)))
        if output is None or own_loss(output) is not None:
            return ()
        size = float(output.float().square().mean().sqrt())
    if not 1.1 * LOUD_LOGITS < size < math.inf:  # LSUV's logits have 1 up to rounding
        return ()
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name in heads:  # several, where the output is their sum
            parameters[name].mul_(LOUD_LOGITS / size)
    return (f"auto: {', '.join(heads)} scaled by {LOUD_LOGITS / size:.3g}: its logits had root mean square {size:.3g}",)


def _set_log_prior(model: nn.Module, sites: tuple[Site, ...], context: InitContext) -> tuple[str, ...]:
    """The log prior as the head's bias, where there is one and the classes are imbalanced."""
    heads = [s for s in context.sites or sites if s.role == "head"]
    bias = next((s for s in sites if heads and s.role == "bias" and s.layer == heads[-1].layer), None)
    assert context.batches is not None
    targets = context.batches(0).targets
    if not isinstance(targets, Tensor):
        return ()
    targets = targets.cpu()
    if bias is None or targets.dim() != 1 or targets.dtype == torch.bool or targets.is_floating_point():
        return ()
    classes = bias.shape[0]
    if classes < 2 or not 0 <= int(targets.min()) <= int(targets.max()) < classes:
        return ()
    entropy = _entropy(targets, classes)
    if not _is_imbalanced(entropy, classes, len(targets)):
        return ()
    notes: tuple[str, ...] = ()
    for step in inits.log_prior().adapt:
        notes += step(model, (heads[-1], bias), context)
    return (f"auto: the classes are imbalanced (entropy {entropy:.2f} of {math.log(classes):.2f})", *notes)


def _entropy(targets: Tensor, classes: int) -> float:
    share = torch.bincount(targets, minlength=classes).double() / len(targets)
    return -float(torch.special.xlogy(share, share).sum())


def _is_imbalanced(entropy: float, classes: int, examples: int) -> bool:
    """Whether classes with this entropy are unlikely to be a random sample from balanced ones.

    2n(ln C - H) of n examples of C balanced classes is approximately χ² with C - 1 degrees of freedom (Wilks, 1938).
    """
    deviance, mean = 2 * examples * (math.log(classes) - entropy), classes - 1
    by_chance = deviance <= mean + 4 * math.sqrt(2 * mean)
    expected = math.log(classes) - mean / (2 * examples)
    return entropy < BALANCED * expected and not by_chance


def _text(found: Assessment | None) -> str:
    """The figure by which a candidate is compared."""
    if found is None:
        return "∞"
    if found.outlook.calibrated:
        return f"{found.outlook.score:.3f}"
    return f"{found.risk:.2f}" if math.isfinite(found.risk) else "∞"
