"""Why a run or a study went as it went: evidence, rule, theory, source, and what to type next; and trying it."""

from initlab.advice.explain.attempt import Attempt, attempts
from initlab.advice.explain.lines import lines, try_lines
from initlab.advice.explain.recorded import Recorded, recorded
from initlab.advice.explain.story import Story, story

__all__ = ["Attempt", "Recorded", "Story", "attempts", "lines", "recorded", "story", "try_lines"]
