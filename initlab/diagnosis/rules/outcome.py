"""Rule `at_chance`: the result compared with a baseline that ignores the input."""

from __future__ import annotations

import math
from statistics import fmean

from initlab.diagnosis.remedies import architecture_changes, better_init, longer_memory
from initlab.diagnosis.rules.bounds import CHANCE_LOSS, CHANCE_SIGMAS, LEARNED_WELL
from initlab.diagnosis.rules.evidence import Evidence
from initlab.spec import Finding


def at_chance(e: Evidence) -> Finding | None:
    if e.steps < 10:
        return None
    accuracy, loss, p = e.last_value("val/accuracy"), e.last_value("val/loss"), e.baseline.accuracy
    if p is not None and accuracy is not None:
        if accuracy > p + CHANCE_SIGMAS * math.sqrt(p * (1 - p) / max(1, e.answers)):
            return None
        evidence = f"validation accuracy {accuracy:.3f} after {e.steps} updates; guessing gives {p:.3f}"
        source = f"within {CHANCE_SIGMAS:g} binomial standard errors of guessing"
    elif p is None and loss is not None and math.isfinite(loss):
        if loss < CHANCE_LOSS * e.baseline.constant:
            return None
        evidence = (
            f"validation loss {loss:.4g} after {e.steps} updates; the best answer that ignores the input"
            f" gives {e.baseline.constant:.4g}"
        )
        source = f"less than {1 - CHANCE_LOSS:.0%} below a constant answer"
    elif accuracy is None and loss is None and (recent := _recent_training_loss(e)) is not None:
        # a loop of one's own that logs no validation; the constant answer's loss is that of equally frequent classes
        if not recent >= CHANCE_LOSS * e.baseline.constant:
            return None
        evidence = (
            f"training loss {recent:.4g} at the end of {e.steps} updates; answers that ignore the input reach"
            f" {e.baseline.constant:.4g}"
        )
        source = f"less than {1 - CHANCE_LOSS:.0%} below a constant answer"
    else:
        return None
    # a sequence that is answered at its end is lost where memory is short, whatever the layers' scale
    over_time = longer_memory(e.params) if e.at_start("reach") and not e.answer_per_step else ()
    remedies = (*over_time, *better_init(e.params), *architecture_changes(e.params))
    return Finding(name="at_chance", severity="failure", evidence=evidence, source=source, remedies=remedies)


def _recent_training_loss(e: Evidence) -> float | None:
    """Mean of the last quarter of the training losses; None where there are fewer than four, or one is not finite."""
    curve = e.profile.curves.get("train/loss", ())
    values = [v for _, v in curve[-max(1, len(curve) // 4) :]]
    return fmean(values) if len(curve) >= 4 and all(map(math.isfinite, values)) else None


def learned_fraction(evidence: Evidence) -> float:
    """Learned fraction at the end of a run: 0 is a constant guess, 1 is perfect; NaN where unknown.

    For accuracies (a - p)/(1 - p), p the share of the most frequent answer; for errors 1 - loss/constant.
    """
    accuracy, loss, p = evidence.last_value("val/accuracy"), evidence.last_value("val/loss"), evidence.baseline.accuracy
    if p is not None and accuracy is not None:
        return (accuracy - p) / (1 - p) if p < 1 else math.nan
    if loss is None or not math.isfinite(loss):
        return math.nan
    return 1 - loss / evidence.baseline.constant


def has_learned_well(e: Evidence) -> bool:
    """Whether the run ended with nine tenths or more of what is possible: a finding then cost little or nothing."""
    return e.diverged_step is None and learned_fraction(e) >= LEARNED_WELL


def has_not_learned(e: Evidence) -> bool:
    """Whether nothing was learned: the loss is not finite, or the answers are no better than guessing."""
    return e.diverged_step is not None or at_chance(e) is not None
