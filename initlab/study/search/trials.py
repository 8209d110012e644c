"""Optuna's trials of a study, read as arms: those that count, their replicas, results and pruning reasons."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from initlab.study.search.arms import ArmResult, Replica
from initlab.study.search.tune import Sweep

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial, TrialState

ARM, CHOICES, REPLICAS, REASON, SECONDS = "arm", "choices", "replicas", "reason", "seconds"
#: process id and machine of the worker that has the trial
WORKER, HOST = "worker", "host"
#: how many workers died of the arm
DEATHS = "deaths"
#: why an arm was called doomed that ran on all the same, to see whether it was
DOOMED = "doomed"
#: the learning rates that were tried for the arm, and the one that was chosen
SWEEP = "sweep"
#: what a trial was enqueued for; of several trials with one slot the first one counts
SLOT = "slot"
#: Optuna's names in a trial for the first of its attempts, and for all before it
FIRST, RETRIED = "failed_trial", "retry_history"


def superseded_trials(trials: Sequence[FrozenTrial]) -> set[int]:
    """Numbers of trials that were begun anew under another number."""
    return {n for t in trials for n in t.system_attrs.get(RETRIED, ())}


def duplicate_trials(trials: Sequence[FrozenTrial]) -> set[int]:
    """Numbers of trials that were enqueued for what another one had been enqueued for already."""
    first: dict[str, int] = {}
    return {
        t.number
        for t in sorted(trials, key=lambda t: t.number)
        if SLOT in t.user_attrs and first.setdefault(str(t.user_attrs[SLOT]), t.number) != t.number
    }


def current_trials(study: Study) -> list[FrozenTrial]:
    """The trials that count: without those that were begun anew, or enqueued twice."""
    trials = study.get_trials(deepcopy=False)
    old = superseded_trials(trials) | duplicate_trials(trials)
    return [t for t in trials if t.number not in old]


def replicas_of(attrs: Mapping[str, Any]) -> list[Replica]:
    """The replicas that a trial has the end of, from its user attributes."""
    # one that was pruned or interrupted is none to go on from
    return [r for r in _replicas(attrs) if r.status != "killed"]


def _replicas(attrs: Mapping[str, Any]) -> list[Replica]:
    return [Replica.from_json(r) for r in json.loads(attrs.get(REPLICAS, "[]"))]


def recorded_runs(study: Study) -> list[tuple[list[int], set[str]]]:
    """Of each arm that was begun anew the numbers of all its trials, and its runs that count, by their ids."""
    return [
        ([*before, t.number], {r.run_id for r in _replicas(t.user_attrs)})
        for t in current_trials(study)
        if (before := t.system_attrs.get(RETRIED))
    ]


def arm_results(study: Study) -> list[ArmResult]:
    """Every trial that counts, in words that do not need Optuna."""
    return [_result(t) for t in current_trials(study)]


def doomed_values(study: Study) -> list[tuple[str, float]]:
    """(reason, first objective) of the arms that were called doomed and ran on to their end all the same."""
    from optuna.trial import TrialState

    done = [t for t in current_trials(study) if t.state == TrialState.COMPLETE and DOOMED in t.user_attrs]
    return [(str(t.user_attrs[DOOMED]), float(t.values[0])) for t in done]


def _result(trial: FrozenTrial) -> ArmResult:
    from optuna.trial import TrialState

    states: dict[TrialState, Any] = {
        TrialState.WAITING: "waiting", TrialState.RUNNING: "running", TrialState.COMPLETE: "complete",
        TrialState.PRUNED: "pruned", TrialState.FAIL: "failed",
    }  # fmt: skip
    attrs = trial.user_attrs
    # not trial.value, which trials with several raise on
    values = tuple(trial.values) if trial.state == TrialState.COMPLETE else ()
    choices: Mapping[str, str] = {
        k: _short(v) for k, v in (json.loads(attrs.get(CHOICES, "{}")) or planned_choices(trial)).items()
    }
    return ArmResult(
        trial=trial.number,
        arm=str(attrs.get(ARM, "")),
        choices=choices,
        state=states[trial.state],
        value=values[0] if values else None,
        values=values if len(values) > 1 else (),
        replicas=tuple(_replicas(attrs)),
        reason=str(attrs.get(REASON, "")),
        seconds=float(attrs.get(SECONDS, 0.0)),
        sweep=Sweep.from_json(json.loads(attrs[SWEEP])) if SWEEP in attrs else None,
    )


def _short(text: str) -> str:
    """A number that a sampler drew, as far as a person wants to read it."""
    try:
        value = float(text)
    except ValueError:
        return text
    return f"{value:.4g}" if len(text) > len(f"{value:.4g}") + 2 else text


def planned_choices(trial: FrozenTrial) -> dict[str, str]:
    """Parameters that a trial of a grid was enqueued with."""
    fixed = trial.system_attrs.get("fixed_params", {})
    return {str(k): str(v) for k, v in fixed.items()}
