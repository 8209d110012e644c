"""Why a run or a study went as it went: evidence, rule, theory, source, and what to type next; and trying it."""

from initlab.explain.attempt import Attempt, attempts
from initlab.explain.lines import lines, try_lines
from initlab.explain.recorded import Recorded, recorded
from initlab.explain.story import Story, story

__all__ = ["Attempt", "Recorded", "Story", "attempts", "lines", "recorded", "story", "try_lines"]
