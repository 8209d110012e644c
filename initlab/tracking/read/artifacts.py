"""Finds one run in the store by id, uid, prefix or `last`, and downloads its artifacts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from initlab.errors import ConfigError, StoreError, UnknownNameError
from initlab.spec import TrackingSettings
from initlab.tracking.read.references import LAST, SHORTEST_ID, resolve
from initlab.tracking.store.client import Store, connect
from initlab.tracking.store.faults import StoreFaultError
from initlab.tracking.store.links import run_page, served_at
from initlab.tracking.store.location import describe_location, readable_uri, sqlite_file
from initlab.tracking.upkeep.sync import spools

#: number of latest runs that are searched for `last` and for names to suggest, and for the beginning of an id
_RECENT_RUNS, _ALL_RUNS = 200, 1000
#: characters of an id
_WHOLE_ID = 32
#: number of runs that an error message lists
_LISTED_RUNS = 8


@dataclass(frozen=True, kw_only=True)
class StoredRun:
    """A run of the store, as `find_run` returns it."""

    run_id: str
    name: str
    experiment: str
    tags: Mapping[str, str]
    store: Store

    @property
    def kind(self) -> str:
        """``train``, ``inspect`` or ``study``; empty where initlab did not record it."""
        return self.tags.get("initlab.kind", "")

    def fetch(self, names: Sequence[str], folder: Path) -> list[str]:
        """Download those artifacts of `names` that the run has into `folder`; returns their names.

        Raises:
            StoreError: the store cannot send them.
        """
        try:
            return [name for name in names if self.store.download(self.run_id, name, folder)]
        except StoreFaultError as fault:
            raise StoreError(f"the files of run {self.run_id} cannot be fetched: {fault.reason}") from fault

    def link(self, workdir: Path, file: str = "") -> str:
        """Address of the run, or of its artifact `file`, in MLflow; empty where no server shows the store."""
        base = served_at(self.store.uri, workdir)
        if not base:
            return ""
        try:
            return run_page(base, self.store.run_tags(self.run_id)[0], self.run_id, file)
        except StoreFaultError:
            return ""

    def tag(self, tags: Mapping[str, str]) -> None:
        """Set tags of the run, which may have ended. Raises StoreError."""
        self.store.log(self.run_id, tags=tags)


def find_run(asked: str, settings: TrackingSettings, *, workdir: Path, kind: str = "train") -> StoredRun:
    """Find the run `asked`: an id or uid, the beginning of one, or ``last`` for the last one of that kind.

    Raises:
        UnknownNameError: no such run; the message lists the latest runs.
        ConfigError: there is no store, or it does not answer.
    """
    uri = readable_uri(settings, workdir)
    file = sqlite_file(uri)
    if file is not None and not file.exists():
        raise ConfigError("tracking.uri", uri, "there is no store here yet; train a run first: python -m initlab")
    try:
        store = connect(uri, workdir=workdir)
        whole = asked == LAST or len(asked) >= _WHOLE_ID
        latest = store.latest_runs(_RECENT_RUNS if whole else _ALL_RUNS)
        recent = {i: tags for i, tags in latest if "initlab.kind" in tags}
        run_id = _match_recent(asked, recent, kind) or _find_by_id(store, asked)
        if run_id is None:
            raise UnknownNameError(_unknown_run_message(asked, recent, uri, workdir))
        experiment_id, name, tags = store.run_tags(run_id)
        experiment = store.experiment_name(experiment_id)
    except StoreFaultError as fault:
        raise ConfigError("tracking.uri", describe_location(uri), f"the run cannot be read: {fault.reason}") from fault
    return StoredRun(run_id=run_id, name=name, experiment=experiment, tags=tags, store=store)


def _match_recent(asked: str, recent: Mapping[str, Mapping[str, str]], kind: str) -> str | None:
    if asked == LAST:
        return next((i for i, tags in recent.items() if tags.get("initlab.kind") == kind), None)
    for run_id, tags in recent.items():
        if asked in (run_id, tags.get("initlab.uid")):
            return run_id
    names = {i: tags.get("mlflow.runName", "") for i, tags in recent.items()}
    by_id = resolve(asked, names, key="run", shortest=SHORTEST_ID)
    if by_id in recent:
        return by_id
    uids = {tags.get("initlab.uid", ""): i for i, tags in recent.items()}
    return uids.get(resolve(asked, {u: names[i] for u, i in uids.items() if u}, key="run", shortest=SHORTEST_ID))


def _find_by_id(store: Store, asked: str) -> str | None:
    if not asked.isalnum():
        return None
    try:
        store.run_tags(asked)
    except StoreFaultError as fault:
        if "deleted" in fault.reason or fault.kind not in {"gone", "refused"}:
            raise
        return store.find_run(store.experiments(), asked)
    return asked


def _unknown_run_message(asked: str, recent: Mapping[str, Mapping[str, str]], uri: str, workdir: Path) -> str:
    waiting = {info.run_id or info.uid: info.name for info in spools(workdir)}
    if asked in waiting:
        return f"run={asked}: its records are still on this machine; send them with `python -m initlab sync`"
    trained = [
        f"{run_id} ({tags.get('mlflow.runName', '')})"
        for run_id, tags in recent.items()
        if tags.get("initlab.kind") == "train"
    ]
    if not trained:
        return f"run={asked}: no such run; {describe_location(uri)} has none yet that was trained"
    return f"run={asked}: no such run in {describe_location(uri)}; the latest are {', '.join(trained[:_LISTED_RUNS])}"
