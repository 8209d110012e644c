"""Enqueues the arms that a study still lacks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from initlab.study.search import ledger
from initlab.study.search.storage import exclusive
from initlab.study.search.trials import CHOICES, SLOT, current_trials, planned_choices
from initlab.study.space.plan import Plan

if TYPE_CHECKING:
    from optuna import Study


def enqueue_missing(study: Study, plan: Plan) -> int:
    """Enqueue every arm of the plan that was not trained yet. Returns how many."""
    ledger.mend(study, plan.folder)
    with exclusive(study, plan.folder):
        return _enqueue(study, plan)


def _enqueue(study: Study, plan: Plan) -> int:
    from optuna.trial import TrialState

    counted = current_trials(study)
    if plan.settings.sampler != "grid":
        if plan.settings.trials is None:
            return 0
        new = max(0, plan.settings.trials - len(counted))
        for number in range(len(counted), len(counted) + new):
            study.enqueue_trial({}, user_attrs={SLOT: f"sample {number}"})
        return new
    rerun = plan.settings.rerun
    done = [] if rerun else [t for t in counted if t.state != TrialState.FAIL]
    have = {_arm_of(t) for t in done}
    failed = {_arm_of(t): t for t in counted if t.state == TrialState.FAIL}
    new = 0
    for arm in plan.space.arms():
        text = json.dumps(arm, sort_keys=True)
        if text in have:
            continue
        new += 1
        if text in failed:
            ledger.again(study, failed[text])
        else:
            before = max((t.number for t in counted if _arm_of(t) == text), default=-1) if rerun else -1
            study.enqueue_trial(dict(arm), user_attrs={SLOT: f"{text} {before}"})
    return new


def _arm_of(trial: Any) -> str:
    choices = json.loads(trial.user_attrs.get(CHOICES, "{}")) or planned_choices(trial)
    return json.dumps(choices, sort_keys=True)
