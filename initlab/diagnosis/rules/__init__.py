"""Diagnostic rules: evidence from a run's profile gives findings, each with its remedies.

Each rule is a function of `Evidence` that returns a finding or None. Its thresholds are in `bounds`, with their source.
A remedy is an override for the same command.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from initlab.diagnosis.rules.attention import (
    entropy_collapse,
    growing_stream,
    high_start_loss,
    post_norm_without_warmup,
    rank_collapse,
    saturated_attention,
)
from initlab.diagnosis.rules.evidence import Evidence
from initlab.diagnosis.rules.memory import closed_gates, short_memory, states_saturated
from initlab.diagnosis.rules.outcome import at_chance, has_learned_well
from initlab.diagnosis.rules.serialize import FILE, findings_from_json, findings_to_json
from initlab.diagnosis.rules.setting import (
    identical_layers,
    inputs_not_standardised,
    loud_embedding,
    output_cut_off,
)
from initlab.diagnosis.rules.signal import (
    became_saturated,
    born_dead,
    dead_units,
    exploding,
    saturated,
    symmetric_units,
    unscaled_branches,
    vanishing,
)
from initlab.diagnosis.rules.steps import decayed_weights, diverged, few_updates, update_size
from initlab.spec import Finding, Remedy

__all__ = ["FILE", "OUTCOMES", "RULES", "Evidence", "findings_from_json", "findings_to_json", "headline", "judge"]

Rule = Callable[[Evidence], Finding | None]

#: rules in order: causes before their consequences
RULES: tuple[Rule, ...] = (
    inputs_not_standardised,
    output_cut_off,
    identical_layers,
    loud_embedding,
    symmetric_units,
    born_dead,
    vanishing,
    unscaled_branches,
    saturated_attention,
    rank_collapse,
    post_norm_without_warmup,
    growing_stream,
    high_start_loss,
    exploding,
    saturated,
    update_size,
    entropy_collapse,
    decayed_weights,
    states_saturated,
    closed_gates,
    short_memory,
    few_updates,
    became_saturated,
    dead_units,
    diverged,
    at_chance,
)

#: findings that describe the result of a run and not its cause
OUTCOMES = ("diverged", "at_chance")

#: findings that are measured before the first update, or that no number of updates changes
_AT_START = (
    "symmetric_units",
    "born_dead",
    "vanishing",
    "unscaled_branches",
    "saturated_attention",
    "rank_collapse",
    "growing_stream",
    "exploding",
    "saturated",
    "states_saturated",
)

#: finding → findings that are only its consequences and are left out. Identical zero units are off, get no gradient and
#: never move; without a signal units are off, and without a gradient weights do not move; an exploding gradient moves
#: weights too far, and weights that moved too far leave units dead or saturated
_CONSEQUENCES: dict[str, tuple[str, ...]] = {
    "symmetric_units": (
        "identical_layers",
        "born_dead",
        "dead_units",
        "updates_too_small",
        "vanishing",
        "became_saturated",
        "few_updates",
    ),
    "loud_embedding": ("high_start_loss", "exploding"),
    "born_dead": ("dead_units", "updates_too_small", "vanishing", "few_updates"),
    "vanishing": ("dead_units", "updates_too_small", "few_updates", "entropy_collapse"),
    "unscaled_branches": (
        "exploding",
        "updates_too_large",
        "became_saturated",
        "dead_units",
        "saturated_attention",
        "rank_collapse",
        "growing_stream",
        "high_start_loss",
    ),
    "saturated_attention": ("exploding", "high_start_loss"),
    "rank_collapse": (
        "post_norm_without_warmup",
        "vanishing",
        "exploding",
        "dead_units",
        "high_start_loss",
        "growing_stream",
    ),
    "post_norm_without_warmup": ("high_start_loss", "entropy_collapse"),
    "growing_stream": ("exploding", "high_start_loss"),
    "exploding": ("updates_too_large", "became_saturated", "dead_units"),
    "saturated": ("became_saturated", "dead_units"),
    "updates_too_large": ("became_saturated", "dead_units", "entropy_collapse"),
    "updates_too_small": ("few_updates",),
    "diverged": ("updates_too_small",),
}


def judge(evidence: Evidence) -> tuple[Finding, ...]:
    """All findings, the most severe first; with a finding ``healthy`` where no rule reports a failure or warning."""
    found = [f for rule in RULES if (f := rule(evidence)) is not None]
    explained = {name for f in found if f.severity == "failure" for name in _CONSEQUENCES.get(f.name, ())}
    found = [f for f in found if f.name not in explained]
    found = _short_first(found)
    if has_learned_well(evidence):
        # what cost no measurable accuracy is a remark, and nothing to change
        found = [replace(f, severity="note", remedies=()) for f in found]
    if not any(f.severity in ("failure", "warning") for f in found):
        found.insert(0, _healthy(evidence))
    gravity = {"failure": 0, "warning": 1, "ok": 2, "note": 3}
    return tuple(sorted(found, key=lambda f: gravity[f.severity]))


#: findings of a run that was too short to say anything of its initialisation or activation
_SHORT = ("few_updates", "updates_too_small")


def _short_first(found: list[Finding]) -> list[Finding]:
    """Puts a too short training first, and drops other networks from the remedies of what follows.

    Except where a failure was measured before training: that stands, however many updates follow.
    """
    if not any(f.name in _SHORT for f in found) or any(f.name in _AT_START and f.severity == "failure" for f in found):
        return found
    first = [f for f in found if f.name in _SHORT]
    rest = [
        replace(f, remedies=tuple(r for r in f.remedies if not _is_other_network(r))) for f in found if f not in first
    ]
    return [
        *(replace(f, severity="failure") if any(g.severity == "failure" for g in rest) else f for f in first),
        *rest,
    ]


def _is_other_network(remedy: Remedy) -> bool:
    return any(o.split("=")[0].split(".")[0] in ("init", "activation", "model") for o in remedy.overrides)


def headline(findings: tuple[Finding, ...]) -> str:
    """Names of all failures and warnings, for a tag: ``symmetric_units,at_chance`` or ``healthy``."""
    worst = [f.name for f in findings if f.severity in ("failure", "warning")]
    return ",".join(worst) or "healthy"


def _healthy(e: Evidence) -> Finding:
    parts: list[str] = []
    ratio = e.gradient_ratio()
    if ratio is not None:
        parts.append(f"gradient ratio first/last layer {ratio:.2f} at initialisation")
    for key, words in (("bits_per_char", "bits per character"), ("accuracy", "accuracy"), ("loss", "loss")):
        value = e.last_value(f"val/{key}")
        if value is not None and math.isfinite(value):
            parts.append(f"validation {words} {value:.3f}")
            break
    else:
        parts.append("no validation score was logged, so what it learned is not known")
    return Finding(
        name="healthy",
        severity="ok",
        evidence="; ".join(parts) or "no rule reported a problem",
        source="no rule of initlab.diagnosis.rules applied",
    )
