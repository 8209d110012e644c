"""Puts a trained network into MLflow's model registry, with the run that it comes from."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from initlab.core.version import __version__
from initlab.errors import ConfigError, StoreError
from initlab.tracking.store.client import Store
from initlab.tracking.store.faults import StoreFaultError
from initlab.tracking.store.location import describe_location
from initlab.tracking.store.quiet import silence_mlflow

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Registered:
    """A version of a registered model.

    Attributes:
        name: of the registered model.
        version: its number in the registry.
        model_id: of MLflow's logged model.
        pickled: whether loading needs pickle and this package; else the file is torch's exported program.
    """

    name: str
    version: str
    model_id: str
    pickled: bool

    @property
    def uri(self) -> str:
        """Address for `mlflow.pytorch.load_model`, `mlflow.pyfunc.load_model` and `mlflow models serve`."""
        return f"models:/{self.name}/{self.version}"


def register_model(
    store: Store,
    run_id: str,
    model: nn.Module,
    example: Tensor,
    *,
    name: str,
    tags: Mapping[str, str],
    metrics: Mapping[str, float],
    description: str,
    alias: str = "",
) -> Registered:
    """Log `model` as a model of a run and register it as a new version of `name`.

    Args:
        store: that has the run.
        run_id: of the run that trained it.
        model: with its trained weights; it is left in eval mode, on the CPU.
        example: two inputs (2, ...) as the network takes them.
        name: of the registered model, created where there is none.
        tags: evidence, on the logged model and on the version.
        metrics: of the logged model, shown beside it.
        description: Markdown.
        alias: of the version, such as ``champion``; an alias moves from the version that had it.

    Raises:
        StoreError: the store takes no models, or does not answer.
    """
    model = model.eval().cpu()
    with TemporaryDirectory() as scratch, silence_mlflow():
        folder = Path(scratch) / "model"
        from mlflow.exceptions import MlflowException

        pickled = _save(model, example.detach().cpu(), folder)
        try:
            with store.client() as client:
                model_id = _log(client, run_id, folder, name=name, tags=tags, metrics=metrics)
                with contextlib.suppress(MlflowException):  # it exists
                    client.create_registered_model(name)
                version = client.create_model_version(
                    name,
                    f"models:/{model_id}",
                    run_id=run_id,
                    tags=dict(tags),
                    description=description,
                    model_id=model_id,
                )
                if alias:
                    client.set_registered_model_alias(name, alias, version.version)
                return Registered(name=name, version=str(version.version), model_id=model_id, pickled=pickled)
        except StoreFaultError as fault:
            if fault.kind == "refused":
                raise ConfigError("as", name, f"{describe_location(store.uri)}: {fault.reason}") from fault
            raise StoreError(f"the model cannot be registered: {fault.reason}") from fault


def _save(model: nn.Module, example: Tensor, folder: Path) -> bool:
    """Save as torch's exported program, or where that fails as a pickle. Returns whether it is a pickle."""
    import torch

    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        # the exporter and MLflow warn of things that neither the user nor initlab can change
        warnings.simplefilter("ignore")
        import mlflow.pytorch

        needs = [f"torch=={torch.__version__.split('+')[0]}"]  # explicit: else MLflow runs pip
        shown = example.numpy()
        try:
            mlflow.pytorch.save_model(
                model, folder, input_example=shown, serialization_format="pt2", pip_requirements=needs
            )
        except Exception:  # whatever the exporter says of a network
            import shutil

            shutil.rmtree(folder, ignore_errors=True)
            needs.append(f"initlab=={__version__}")
            mlflow.pytorch.save_model(
                model, folder, input_example=shown, serialization_format="pickle", pip_requirements=needs
            )
            return True
    return False


def _log(
    client: Any, run_id: str, folder: Path, *, name: str, tags: Mapping[str, str], metrics: Mapping[str, float]
) -> str:
    """Log the files of `folder` as a model of the run; returns its id."""
    from mlflow.entities import LoggedModelOutput, Metric

    stored = client.get_run(run_id)
    logged = client.create_logged_model(
        stored.info.experiment_id, name=name, source_run_id=run_id, tags=dict(tags), model_type="pytorch"
    )
    key = str(logged.model_id)
    client.log_model_artifacts(key, str(folder))
    client.finalize_logged_model(key, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(key, 0)])
    when = int(stored.info.end_time or stored.info.start_time or 0)
    scores = [Metric(k, v, when, 0, model_id=key, run_id=run_id) for k, v in metrics.items()]
    client.log_batch(run_id, metrics=scores)
    return key
