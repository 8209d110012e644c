"""Ends finished runs that a study does not count and that reached the store only after it was over.

A worker that was taken for dead may have finished a run whose arm was trained again by another one. The study's own end
sets such runs to killed (`tracking.end_duplicates`); one that was sent later is found here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from initlab import tracking
from initlab.errors import InitlabError
from initlab.spec import TrackingSettings
from initlab.study.search.storage import open_storage
from initlab.study.search.trials import recorded_runs
from initlab.study.space.plan import folder_of, load


def end_strays(sent: Iterable[tracking.SyncResult], settings: TrackingSettings, *, workdir: Path) -> int:
    """Set the finished runs among `sent` that their studies do not count to killed; returns how many there were.

    Args:
        sent: results of `tracking.sync`.
        settings: of the store; where each run was sent is in its result.
        workdir: directory of the studies. One whose record is not there, or cannot be read, is left alone.
    """
    ends = [r for r in sent if r.outcome == "sent" and r.study and r.status == "finished"]
    places = {(r.study, r.uri, r.experiment) for r in ends}
    ended = 0
    for study, uri, experiment in sorted(places):
        kept = _kept(study, workdir)
        if kept:
            there = replace(settings, uri=uri, experiment=experiment)
            ended += tracking.end_duplicates(there, workdir=workdir, study=study, kept=kept)[0]
    return ended


def _kept(study: str, workdir: Path) -> list[tuple[list[int], set[str]]]:
    """What `recorded_runs` says of the study; empty where its record is not here."""
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    plan = load(folder_of(workdir, study))
    if plan is None:
        return []
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        storage = open_storage(plan.storage)
        try:
            return recorded_runs(optuna.load_study(study_name=study, storage=storage))
        finally:
            storage.engine.dispose()
    except (KeyError, InitlabError, SQLAlchemyError):
        return []
