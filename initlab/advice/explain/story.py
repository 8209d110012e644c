"""Explains a run from its findings: outcome, primary cause, other findings, remedies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from initlab.diagnosis import rules
from initlab.diagnosis.rules import Evidence
from initlab.diagnosis.rules.outcome import has_not_learned, learned_fraction
from initlab.spec import Finding, Remedy

#: `lost`: it learned nothing, or diverged; `ill`: it learned, with a fault that a rule calls a failure; `doubtful`:
#: with one that a rule warns of
Outcome = Literal["healthy", "doubtful", "ill", "lost"]


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Explanation of one run.

    Attributes:
        cause: the finding that explains the others; None where nothing is wrong.
        others: further findings, most severe first, outcomes last.
        remedies: distinct sets of overrides, those of the cause first.
    """

    outcome: Outcome
    cause: Finding | None
    others: tuple[Finding, ...]
    remedies: tuple[Remedy, ...]


def explain_run(evidence: Evidence) -> Explanation:
    """Judge the evidence and put the findings in order.

    The cause is the first failure of the rules, which are ordered with causes before effects; an outcome
    (diverged, at chance) is the cause only where there is no other. A warning is the cause without any failure.
    """
    findings = rules.judge(evidence)
    bad = [f for f in findings if f.severity in ("failure", "warning")]
    # stable sort: failures come before warnings already
    ranked = sorted(bad, key=lambda f: f.name in rules.OUTCOMES)
    cause = ranked[0] if ranked else None
    others = (*ranked[1:], *(f for f in findings if f.severity == "note"))
    seen: dict[tuple[str, ...], Remedy] = {}
    for finding in ranked:
        for remedy in finding.remedies:
            seen.setdefault(remedy.overrides, remedy)
    outcome: Outcome = "healthy"
    if has_not_learned(evidence):
        outcome = "lost"
    elif any(f.severity == "failure" for f in bad):
        outcome = "ill"
    elif bad:
        outcome = "doubtful"
    return Explanation(outcome=outcome, cause=cause, others=others, remedies=tuple(seen.values()))


#: fraction between a guess and a perfect answer from which on a run counts as trained
_LEARNED = 0.25


def trains(evidence: Evidence) -> bool:
    """Whether the learned fraction is a quarter or more, and the final loss is finite."""
    return not has_not_learned(evidence) and learned_fraction(evidence) >= _LEARNED
