"""The leaderboard of a study: arms in order, with intervals over seeds, as rows, as plain text and in one line."""

from initlab.study.board.arms import ENDED, ArmResult, ArmState, Replica, counts, varying
from initlab.study.board.layout import table
from initlab.study.board.ranking import Row, leaderboard, standings
from initlab.study.board.text import number, plain
from initlab.study.board.words import score, scores, summary

__all__ = [
    "ENDED",
    "ArmResult",
    "ArmState",
    "Replica",
    "Row",
    "counts",
    "leaderboard",
    "number",
    "plain",
    "score",
    "scores",
    "standings",
    "summary",
    "table",
    "varying",
]
