"""Exports and imports a study's Optuna trials as JSON (Optuna's own form would be a pickle or a whole database)."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from initlab.errors import ConfigError
from initlab.study.search.storage import choose_url, open_storage, opening
from initlab.study.space.plan import folder_of, load

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

Json = dict[str, Any]


def export_record(study: str, *, workdir: Path, storage: str | None) -> Json | None:
    """All trials of `study`, None where its Optuna record cannot be found.

    Args:
        study: its name.
        workdir: directory of the study; its plan names the database.
        storage: URL of the database, where it is a different one.

    Raises:
        ConfigError: `storage` was given and has no such study.
    """
    import optuna

    plan = load(folder_of(workdir, study))
    if plan is None and storage is None:
        return None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    url = choose_url(storage, None if plan is None else plan.storage, workdir)
    try:
        found = optuna.load_study(study_name=study, storage=open_storage(url))
    except KeyError:
        if storage is None:
            return None
        raise ConfigError("study.storage", storage, f"has no study {study}") from None
    return {
        "directions": [d.name.lower() for d in found.directions],
        "user_attrs": found.user_attrs,
        "trials": [_as_json(t) for t in found.get_trials(deepcopy=False)],
    }


def import_record(record: Json, study: str, *, workdir: Path, storage: str | None) -> int:
    """Add the trials of `record` that `study` lacks; returns their number.

    Raises:
        ConfigError: the record is damaged, or the storage has another study of that name.
    """
    import optuna
    from optuna.study import StudyDirection

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        trials = [_as_trial(t) for t in record["trials"]]
        directions = [StudyDirection[str(d).upper()] for d in record["directions"]]
        attributes = dict(record["user_attrs"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError("from", "optuna.json", f"is damaged: {type(error).__name__}: {error}") from error
    url = choose_url(storage, None, workdir)
    (workdir / ".initlab").mkdir(exist_ok=True)
    store = open_storage(url)
    # two that import the same study at once would both add its trials
    with opening(store, study, workdir / ".initlab"):
        here = optuna.create_study(study_name=study, storage=store, directions=directions, load_if_exists=True)
        return _add(here, trials, attributes)


def _add(here: Study, trials: list[FrozenTrial], attributes: Json) -> int:
    known = len(here.get_trials(deepcopy=False))
    if known and not _same(here, trials, known):
        raise ConfigError(
            "as", here.study_name, "Optuna's record has another study of that name; give a new name: as=NAME"
        )
    for key, value in attributes.items():
        here.set_user_attr(key, value)
    for trial in trials[known:]:
        here.add_trial(trial)
    return len(trials) - known


def _same(here: Study, trials: list[FrozenTrial], known: int) -> bool:
    """Whether the existing trials are the first of `trials`: the same study, or an interrupted import of it."""
    if known > len(trials):
        return False
    return all(
        (a.state, a.values, a.params) == (b.state, b.values, b.params)
        for a, b in zip(here.get_trials(deepcopy=False), trials, strict=False)
    )


def _as_json(trial: FrozenTrial) -> Json:
    from optuna.distributions import distribution_to_json

    return {
        "state": trial.state.name,
        "values": trial.values,
        "params": trial.params,
        "distributions": {k: distribution_to_json(d) for k, d in trial.distributions.items()},
        "user_attrs": trial.user_attrs,
        "system_attrs": trial.system_attrs,
        "intermediate": {str(k): v for k, v in trial.intermediate_values.items()},
        "start": _text(trial.datetime_start),
        "complete": _text(trial.datetime_complete),
    }


def _as_trial(told: Json) -> FrozenTrial:
    from optuna.distributions import json_to_distribution
    from optuna.trial import FrozenTrial, TrialState

    return FrozenTrial(
        number=-1, trial_id=-1, state=TrialState[str(told["state"])], value=None,
        values=None if told["values"] is None else [float(v) for v in told["values"]],
        datetime_start=_time(told["start"]), datetime_complete=_time(told["complete"]), params=dict(told["params"]),
        distributions={str(k): json_to_distribution(str(d)) for k, d in told["distributions"].items()},
        user_attrs=dict(told["user_attrs"]), system_attrs=dict(told["system_attrs"]),
        intermediate_values={int(k): float(v) for k, v in told["intermediate"].items()},
    )  # fmt: skip


def _text(when: datetime | None) -> str | None:
    return None if when is None else when.isoformat()


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def as_text(record: Json) -> str:
    """The record as JSON text."""
    return json.dumps(record, indent=1)
