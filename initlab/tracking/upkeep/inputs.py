"""Data sets of a study's own run: those that its runs were trained on."""

from __future__ import annotations

from pathlib import Path

from initlab.spec import TrackingSettings
from initlab.tracking.store.client import connect
from initlab.tracking.store.embedded import link_datasets
from initlab.tracking.store.faults import StoreFaultError, translate_errors
from initlab.tracking.store.location import resolve_uri, sqlite_file

#: runs that are looked at: a study seldom has more than a few data sets
_RUNS = 200


def copy_inputs(settings: TrackingSettings, *, workdir: Path, study: str, parent: str) -> str:
    """Give the run `parent` the data sets of the runs of `study`; returns why that failed, else "".

    What it has already is not added again.
    """
    if not settings.enabled or settings.offline or not parent:
        return ""
    file = sqlite_file(resolve_uri(settings, workdir))
    try:
        if file is not None and file.exists():
            with translate_errors(settings.uri or "", needs=file):
                if link_datasets(file, study, parent):
                    return ""  # without MLflow, whose import takes longer than a small run
        store = connect(resolve_uri(settings, workdir), workdir=workdir)
        with store.client() as client:
            own = client.get_run(parent)
            words = f"tags.`initlab.study` = '{study}' and tags.`initlab.kind` = 'train'"
            runs = client.search_runs([own.info.experiment_id], filter_string=words, max_results=_RUNS)
            inputs = {i.dataset.digest: i for run in runs for i in run.inputs.dataset_inputs}
            there = {i.dataset.digest for i in own.inputs.dataset_inputs}
            fresh = [i for digest, i in inputs.items() if digest not in there]
            if fresh:
                client.log_inputs(parent, fresh)
    except StoreFaultError as fault:
        return fault.reason
    return ""
