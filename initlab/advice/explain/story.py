"""From findings to one answer: what came of the run, which cause stands first, what else was found, what to try."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from initlab.diagnosis import rules
from initlab.diagnosis.rules import Evidence
from initlab.diagnosis.rules.outcome import has_not_learned
from initlab.spec import Finding, Remedy

#: `lost`: it learned nothing, or diverged; `ill`: it learned, with a fault that a rule calls a failure; `doubtful`:
#: with one that a rule warns of
Outcome = Literal["healthy", "doubtful", "ill", "lost"]


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What is said of one run.

    Attributes:
        cause: the finding that explains the others; None where nothing is wrong.
        others: findings beside it, gravest first, outcomes last.
        remedies: each set of overrides once, those of the cause first.
    """

    outcome: Outcome
    cause: Finding | None
    others: tuple[Finding, ...]
    remedies: tuple[Remedy, ...]


def explain_run(evidence: Evidence) -> Explanation:
    """Judge the evidence and put the findings in order.

    The cause is the first failure of the rules, which stand in the order of causes before effects; an outcome
    (diverged, at chance) is a cause only where there is no other. A warning explains where nothing graver does.
    """
    findings = rules.judge(evidence)
    bad = [f for f in findings if f.severity in ("failure", "warning")]
    # stable: failures stand before warnings already
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


#: share of what a guess leaves to be learned that a run must have learned to be said to train
_LEARNED = 0.25


def learned_fraction(evidence: Evidence) -> float:
    """How much of what a guess leaves open was learned by the end: 0 is a guess, 1 is all; NaN where nothing is known.

    Of accuracies (a - p)/(1 - p), p the share of the commonest answer; of errors 1 - loss/constant.
    """
    accuracy, loss, p = evidence.last_value("val/accuracy"), evidence.last_value("val/loss"), evidence.baseline.accuracy
    if p is not None and accuracy is not None:
        return (accuracy - p) / (1 - p)
    if loss is None or not math.isfinite(loss):
        return math.nan
    return 1 - loss / evidence.baseline.constant


def trains(evidence: Evidence) -> bool:
    """Whether the run learned a quarter or more of what a guess leaves open, and ended with a finite loss."""
    return not has_not_learned(evidence) and learned_fraction(evidence) >= _LEARNED
