"""Training loop as a generator of records, with optimisers, learning-rate schedules and checkpoints."""

from initlab.train.checkpoint import Checkpoints, State
from initlab.train.evaluate import Score, evaluate
from initlab.train.loop import train
from initlab.train.run import Outcome

__all__ = ["Checkpoints", "Outcome", "Score", "State", "evaluate", "train"]
