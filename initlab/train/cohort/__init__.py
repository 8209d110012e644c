"""Cohorts: runs of one architecture trained as one stacked model, each with the numbers of a run on its own."""

from initlab.train.cohort.calibrate import is_faster
from initlab.train.cohort.loop import Event, train_cohort
from initlab.train.cohort.member import Member
from initlab.train.cohort.support import cohort_key, why_alone

__all__ = ["Event", "Member", "cohort_key", "is_faster", "train_cohort", "why_alone"]
