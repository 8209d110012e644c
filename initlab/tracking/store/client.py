"""Typed client of the MLflow store: connects, makes the calls that initlab needs, classifies failures.

Nothing here touches MLflow's global state: every call names its run, and the client gets its URI explicitly.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

from initlab.core import durable
from initlab.core.text import storable
from initlab.spec import Provenance
from initlab.tracking.store import embedded
from initlab.tracking.store.bulk import write
from initlab.tracking.store.connection import load_client, prepare_environment
from initlab.tracking.store.dataset_input import dataset_input
from initlab.tracking.store.faults import StoreFaultError, translate_errors
from initlab.tracking.store.links import view_tag
from initlab.tracking.store.location import folder_name, is_server, sqlite_file
from initlab.tracking.store.revision import is_current, lock_of, migrate
from initlab.tracking.store.stored_files import StoredFiles

# the kind that the UI shows: training of models, not traces of language models
_KIND = {"mlflow.experimentKind": "custom_model_development"}
MetricRow = tuple[str, float, int, int]
RunTable = list[tuple[str, dict[str, str]]]


def connect(uri: str, *, workdir: Path) -> Store:
    """The store at `uri`; a SQLite file is created first, by one process at a time.

    Takes seconds (the import of MLflow, the creation of the tables). Raises StoreFaultError.
    """
    file = sqlite_file(uri)
    if file is None:
        with translate_errors(uri):
            return Store(load_client(uri), uri=uri, artifact_root=workdir.absolute() / "mlruns")
    with translate_errors(uri):
        # MLflow creates its tables one by one: two processes that do it at once break each other. Where they are
        # complete nobody is waited for, not for a process that was stopped while it held the lock either
        with contextlib.nullcontext() if embedded.has_tables(file) and is_current(file) else lock_of(file):
            fresh = not embedded.has_tables(file)
            if fresh:
                prepare_environment()
                embedded.create(file)
            else:
                migrate(file)
            client = load_client(uri)
            if fresh:
                embedded.forget_connections(client)
            embedded.relocate_artifacts(file)
        return Store(client, uri=uri, artifact_root=file.parent / "mlruns")


class Store:
    """The calls to MLflow that initlab needs. A method that fails raises StoreFaultError and nothing else."""

    def __init__(self, client: Any, *, uri: str, artifact_root: Path) -> None:
        self._client = client
        self._file = sqlite_file(uri)
        self.uri = uri
        self._artifact_root = artifact_root
        self._experiments: dict[str, str] = {}
        self._held: dict[str, bool] = {}
        self._stored = None if self._file is None else StoredFiles(self._file, artifact_root)

    def _call(self) -> contextlib.AbstractContextManager[None]:
        return translate_errors(self.uri, needs=self._file)

    @contextlib.contextmanager
    def client(self) -> Generator[Any]:
        """MLflow's own client, for calls that only one caller needs. Raises StoreFaultError as all methods do."""
        with self._call():
            yield self._client

    def experiment(self, name: str) -> str:
        """Id of the experiment `name`, created where there is none. Requested once per connection."""
        name = storable(name)
        if (known := self._experiments.get(name)) is None:
            known = self._experiments[name] = self._experiment(name)
        return known

    def _experiment(self, name: str) -> str:
        with self._call():
            found = self._client.get_experiment_by_name(name)
            if found is None:
                # absolute, beside the database: MLflow's default depends on the current directory of the process
                location = None if is_server(self.uri) else str(self._artifact_root / folder_name(name))
                tags = _KIND | view_tag()
                try:
                    return str(self._client.create_experiment(name, artifact_location=location, tags=tags))
                except Exception:
                    found = self._client.get_experiment_by_name(name)
                    if found is None:
                        raise
            if found.lifecycle_stage != "active":
                raise StoreFaultError(
                    "away", f"experiment {name} is deleted there: restore it, or choose another (tracking.experiment=)"
                )
            return str(found.experiment_id)

    def create_run(self, experiment_id: str, *, name: str, start_ms: int, tags: Mapping[str, str]) -> str:
        with self._call():
            run = self._client.create_run(experiment_id, start_time=start_ms, tags=dict(tags), run_name=storable(name))
            return self._localise_artifacts(run.info)

    def find_run(self, experiment_ids: Sequence[str], uid: str) -> str | None:
        """Find the run with this `uid`, deleted runs included (so that it is not created twice)."""
        with self._call():
            runs = self._client.search_runs(
                list(experiment_ids), filter_string=f"tags.`initlab.uid` = '{uid}'", run_view_type=3, max_results=1
            )
            return self._localise_artifacts(runs[0].info) if runs else None

    def _localise_artifacts(self, info: Any) -> str:
        """Id of the run; its artifact URI is set beside the SQLite file where a server made the experiment.

        Such an experiment has an artifact location that only a server can reach, and here is none.
        """
        run_id = str(info.run_id)
        self._note_holder(info)
        if self._file is not None and str(info.artifact_uri).startswith("mlflow-artifacts:"):
            location = str(self._artifact_root / str(info.experiment_id) / run_id / "artifacts")
            embedded.set_artifact_uri(self._file, run_id, location)
        return run_id

    def finished_runs(self, experiment_id: str, tags: Mapping[str, str]) -> list[tuple[str, int, dict[str, str]]]:
        """Id, time of the end and tags of the runs that are FINISHED and carry `tags`, whose values hold no quotes."""
        words = [f"tags.`{key}` = '{value}'" for key, value in tags.items()]
        found: list[tuple[str, int, dict[str, str]]] = []
        with self._call():
            token: str | None = None
            while True:
                page = self._client.search_runs(
                    [experiment_id],
                    filter_string=" and ".join([*words, "attributes.status = 'FINISHED'"]),
                    max_results=1000,
                    page_token=token,
                )
                found += [(str(r.info.run_id), int(r.info.end_time or 0), dict(r.data.tags)) for r in page]
                token = page.token
                if not token:
                    return found

    def experiments(self) -> list[str]:
        with self._call():
            return [str(found.experiment_id) for found in self._client.search_experiments(max_results=1000)]

    def experiment_names(self) -> dict[str, str]:
        """Id → name of the experiments that are not deleted."""
        with self._call():
            found = self._client.search_experiments(max_results=1000)
            return {str(e.experiment_id): str(e.name) for e in found}

    def pages(self, experiment_ids: Sequence[str], words: str, *, size: int) -> Generator[Any]:
        """Yield MLflow's runs that pass the filter `words`, `size` a request. An invalid filter raises `refused`."""
        token: str | None = None
        while experiment_ids:
            with self._call():
                page = self._client.search_runs(
                    list(experiment_ids), filter_string=words, max_results=size, page_token=token
                )
            yield from page
            token = page.token
            if not token:
                return

    def histories(self, run_ids: Sequence[str], key: str, *, limit: int) -> list[tuple[str, int, int, float]]:
        """Run, step, time in ms and value of all values of a metric of several runs, in one request.

        At most `limit` values in all: a caller that gets as many has to request fewer runs.
        """
        with self._call():
            store = self._client._tracking_client.store
            if not is_server(self.uri):
                found = store.get_metric_history_bulk(list(run_ids), key, limit)
                return [(str(m.run_id), int(m.step), int(m.timestamp), float(m.value)) for m in found]
            from mlflow.utils.rest_utils import http_request, verify_rest_response

            # the endpoint of MLflow's own curves; its Python client needs one request a run
            at = "/ajax-api/2.0/mlflow/metrics/get-history-bulk"
            asked = {"run_id": list(run_ids), "metric_key": key, "max_results": limit}
            answer = self._client.limited(lambda: http_request(store.get_host_creds(), at, "GET", params=asked))
            rows = verify_rest_response(answer, at).json()["metrics"]
            return [(str(m["run_id"]), int(m["step"]), int(m["timestamp"]), float(m["value"])) for m in rows]

    def latest_runs(self, count: int) -> RunTable:
        """Ids and tags of the latest runs by start time."""
        known = self.experiments()
        with self._call():
            runs = self._client.search_runs(known, order_by=["attributes.start_time DESC"], max_results=count)
            return [(str(run.info.run_id), dict(run.data.tags)) for run in runs]

    def run_tags(self, run_id: str) -> tuple[str, str, dict[str, str]]:
        """Experiment id, run name and tags. `gone` where there is no such run or it was deleted."""
        with self._call():
            run = self._client.get_run(run_id)
            if run.info.lifecycle_stage != "active":
                raise StoreFaultError("gone", f"run {run_id} is deleted there; restore it, then try again")
            return str(run.info.experiment_id), str(run.info.run_name), dict(run.data.tags)

    def is_deleted(self, run_id: str) -> bool:
        """Whether the run is deleted (and can be restored); raises `gone` where it does not exist at all."""
        with self._call():
            return self._client.get_run(run_id).info.lifecycle_stage != "active"

    def experiment_name(self, experiment_id: str) -> str:
        with self._call():
            return str(self._client.get_experiment(experiment_id).name)

    def log(
        self,
        run_id: str,
        *,
        metrics: Sequence[MetricRow] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """One batch: at most 1000 `metrics` (key, value, time in ms, step), 100 `params` and 100 `tags`."""
        with self._call():
            if self._file is not None and write(
                self._client, run_id, metrics=metrics, params=params or {}, tags=tags or {}
            ):
                return
            from mlflow.entities import Metric, Param, RunTag

            self._client.log_batch(
                run_id,
                metrics=[Metric(key, value, time_ms, step) for key, value, time_ms, step in metrics],
                params=[Param(key, value) for key, value in (params or {}).items()],
                tags=[RunTag(key, value) for key, value in (tags or {}).items()],
            )

    def log_dataset(self, run_id: str, dataset: Provenance, *, profile: str) -> None:
        with self._call():
            inputs = [dataset_input(dataset, profile=profile)]
            try:
                self._client.log_inputs(run_id, inputs)
            except Exception:
                # two runs may add the same new data set at once: at the second attempt it exists
                self._client.log_inputs(run_id, inputs)

    def upload(self, run_id: str, file: Path, folder: str) -> None:
        """Store a file; in a store on this machine it is on the disk afterwards."""
        with self._call():
            self._client.log_artifact(run_id, str(file), folder or None)
            if self._stored is not None:
                self._stored.sync(run_id, Path(folder) / file.name)

    def sync(self) -> None:
        """Bring what was written to a SQLite store onto the disk, for good.

        A commit deletes a journal: if that were there again after a power cut, the commit would be undone.
        """
        if self._file is not None:
            with self._call():
                durable.sync_folder(self._file.parent)

    def files(self, run_id: str, folder: str) -> dict[str, int | None] | None:
        """Name → size of the files in `folder` of the run's artifacts; None where the server does not hold them."""
        with self._call():
            if run_id not in self._held:
                self._note_holder(self._client.get_run(run_id).info)
            if not self._held[run_id]:
                return None
            found = self._client.list_artifacts(run_id, folder or None)
            return {f.path.rsplit("/", 1)[-1]: f.file_size for f in found if not f.is_dir}

    def _note_holder(self, info: Any) -> None:
        """Note whether the server itself holds the artifacts of a run, and no other place that it names."""
        self._held[str(info.run_id)] = str(info.artifact_uri).startswith(("mlflow-artifacts:", "http:", "https:"))

    def download(self, run_id: str, name: str, target: Path) -> bool:
        """Fetch the artifact file or folder `name` into `target`; False where the run has none."""
        with self._call():
            parent, _, last = name.rpartition("/")
            listed = self._client.list_artifacts(run_id, parent or None)
            if not any(info.path.rsplit("/", 1)[-1] == last for info in listed):
                return False
            self._client.download_artifacts(run_id, name, str(target))
            return True

    def resume(self, run_id: str) -> None:
        with self._call():
            self._client.update_run(run_id, status="RUNNING")

    def start_ms(self, run_id: str) -> int:
        """When the run began, in ms."""
        with self._call():
            return int(self._client.get_run(run_id).info.start_time or 0)

    def end(self, run_id: str, *, status: str, time_ms: int) -> None:
        with self._call():
            self._client.set_terminated(run_id, status, time_ms)
