"""Explains the result of a run or a study: evidence, rule, theory, source, remedies; and tries remedies."""

from initlab.advice.explain.attempt import Attempt, try_remedies
from initlab.advice.explain.lines import format_attempts, format_explanation
from initlab.advice.explain.recorded import Recorded, read_recorded
from initlab.advice.explain.story import Explanation, explain_run

__all__ = [
    "Attempt",
    "Explanation",
    "Recorded",
    "explain_run",
    "format_attempts",
    "format_explanation",
    "read_recorded",
    "try_remedies",
]
