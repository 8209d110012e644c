"""Formats an explanation and tried remedies as text."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from initlab.advice.explain.mechanisms import MECHANISMS, UNKNOWN
from initlab.advice.explain.recorded import LayerPair, Recorded
from initlab.advice.explain.story import Explanation
from initlab.diagnosis.rules import Evidence
from initlab.report.note import SCORES
from initlab.spec import Finding, Remedy

if TYPE_CHECKING:
    from initlab.advice.explain.attempt import Attempt

#: number of layers in the table of predicted and measured values
_LAYERS = 5
_WIDTH = 110

OUTCOMES = {
    "lost": "It did not train because {because}.",
    "ill": "It trained worse than it could because {because}.",
    "doubtful": "It trained, but take note: {because}.",
}


def format_explanation(told: Recorded, found: Explanation, commands: Sequence[str]) -> list[str]:
    """The answer, then the chain from evidence to remedy. `commands`: one command for each remedy, in order."""
    said = [f"{told.run.name} ({told.run.run_id}): {format_ending(told.status, told.evidence)}"]
    if found.cause is None:
        note = "" if not found.others else "; also observed:"
        said.append(f"Nothing is wrong: no rule reports a warning{note}")
        for finding in found.others:
            said += _wrap(f"{finding.name}: {finding.evidence}", indent="  - ")
        return [*said, *_format_layers(told)]
    mechanism = MECHANISMS.get(found.cause.name, UNKNOWN)
    said += _wrap(OUTCOMES[found.outcome].format(because=mechanism.because))
    if commands:
        said += _wrap(f"Try: {commands[0]}")
    said += ["", f"Cause: {found.cause.name} ({found.cause.severity})"]
    said += [line for name, words in chain_of(told, found.cause) for line in _item(name, words)]
    said += _remedies(found.remedies)
    if found.others:
        said.append("Also found:")
        for finding in found.others:
            because = MECHANISMS.get(finding.name, UNKNOWN).because if finding.severity != "note" else ""
            more = f" ({because})" if because and finding.name not in ("at_chance", "diverged") else ""
            said += _wrap(f"{finding.name}, {finding.severity}: {finding.evidence}{more}", indent="  - ")
    said += _format_layers(told)
    return said


def format_attempts(attempts: Sequence[Attempt], before: Evidence) -> list[str]:
    """Results of the tried remedies: both final scores, and which findings disappeared."""
    said: list[str] = []
    for attempt in attempts:
        remedy = " ".join(attempt.remedy.overrides)
        if attempt.error:
            said += _wrap(f"{remedy}: cannot be run: {attempt.error}")
            continue
        ends = f"{_score(before)} → {_score(attempt.evidence)}" if attempt.evidence else ""
        word = {"helped": "It helped", "better": "It did better, but does not train yet", "no": "It did not help"}
        said += _wrap(f"{remedy}: {word[attempt.verdict]}: {ends}, run {attempt.run_id}")
        said.append(f"  gone: {', '.join(attempt.gone) or 'no finding'}")
        if attempt.stayed or attempt.new:
            said.append(
                f"  still there: {', '.join(attempt.stayed) or 'none'}; new: {', '.join(attempt.new) or 'none'}"
            )
    if attempts and not any(a.verdict == "helped" for a in attempts):
        said.append("None of the tried remedies made it train.")
    return said


def format_ending(status: str, evidence: Evidence) -> str:
    """How the run ended, and its validation score."""
    words = {
        "finished": "finished", "stopped": "stopped early, as asked", "killed": "was stopped from outside",
        "diverged": f"diverged at step {evidence.diverged_step}", "failed": "failed",
    }  # fmt: skip
    score = _score(evidence)
    return f"{words.get(status, status)} after {evidence.steps} updates" + (f", {score}" if score else "")


def _score(evidence: Evidence) -> str:
    """The most informative validation score, with that of a constant guess."""
    for key, word in SCORES.items():
        value = evidence.last_value(f"val/{key}")
        if value is None:
            continue
        guess = {"accuracy": evidence.baseline.accuracy, "loss": evidence.baseline.constant}.get(key)
        return f"validation {word} {value:.3f}" + (f" (guessing: {guess:.3f})" if guess is not None else "")
    return ""


def chain_of(told: Recorded, cause: Finding) -> list[tuple[str, str]]:
    """(name, words) of each step from the evidence to the cause."""
    mechanism = MECHANISMS.get(cause.name, UNKNOWN)
    said = [("evidence", cause.evidence)]
    if mechanism.rule:
        said.append(("rule", mechanism.rule))
    if mechanism.theory:
        said.append(("theory", mechanism.theory))
    said.append(("source", cause.source))
    if told.outlook:
        said.append(("predicted", f"outlook before the first step: {told.outlook}{_depth(told)}"))
    return said


def _remedies(remedies: Sequence[Remedy]) -> list[str]:
    return [line for r in remedies for line in _item("remedy", f"{' '.join(r.overrides)}  ({r.why})")]


def _depth(told: Recorded) -> str:
    if math.isnan(told.allowed):
        return ""
    allowed = "any depth" if math.isinf(told.allowed) else f"about 6ξ = {told.allowed:.3g} layers"
    return f"; theory allows {allowed} at this scale, the network has {len(told.layers)}"


def _format_layers(told: Recorded) -> list[str]:
    """Predicted and measured values of layers spread over the depth."""
    layers = told.layers
    if len(layers) < 2:
        return []
    at = sorted({round(i * (len(layers) - 1) / (_LAYERS - 1)) for i in range(_LAYERS)})
    said = ["Before the first step (step 0), predicted | measured:"]
    wide = max(len(layers[i].site) for i in at)
    return said + [f"  {layers[i].site:<{wide}}  {_pair(layers[i])}" for i in at]


def _pair(layer: LayerPair) -> str:
    return (
        f"mean square of h {_number(layer.q_said)} | {_number(layer.q)}"
        f"   log10 ‖∂E/∂h‖² against the last layer {_number(layer.gradient_said)} | {_number(layer.gradient)}"
    )


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2e}" if value and not 1e-3 < abs(value) < 1e4 else f"{value:.2f}"


def _item(name: str, text: str) -> list[str]:
    return _wrap(text, indent=f"  {name:<9} ")


def _wrap(text: str, indent: str = "") -> list[str]:
    if text.startswith("Try: ") or "python -m initlab" in text:
        return [indent + text]  # a command must stay on one line
    return textwrap.wrap(text, _WIDTH, initial_indent=indent, subsequent_indent=" " * max(len(indent), 2))
