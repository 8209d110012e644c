"""Leaderboard of a study: arms in order, with intervals over seeds; as rows, plain text, or one line."""

from initlab.study.results.leaderboard.layout import table
from initlab.study.results.leaderboard.one_line import score, scores, summary
from initlab.study.results.leaderboard.ranking import Row, leaderboard, standings

__all__ = ["Row", "leaderboard", "score", "scores", "standings", "summary", "table"]
