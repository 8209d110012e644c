"""Resolves the MLflow experiment that holds the runs: as given, else as MLflow's environment variables say."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from initlab.errors import ConfigError
from initlab.spec import TrackingSettings
from initlab.tracking.store.location import describe_location, resolve_uri, sqlite_file

DEFAULT_EXPERIMENT = "initlab"
_NAME, _ID = "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"


def experiment_name(settings: TrackingSettings) -> str:
    """`tracking.experiment`, else MLFLOW_EXPERIMENT_NAME, else ``initlab``. Asks no store."""
    return settings.experiment if settings.experiment is not None else _variable(_NAME) or DEFAULT_EXPERIMENT


def resolve_experiment(settings: TrackingSettings, *, workdir: Path) -> tuple[TrackingSettings, str]:
    """The settings with the name of the experiment, and where it comes from ("" where it was given, or by default).

    MLFLOW_EXPERIMENT_ID is looked up in the store; a name wins over it, as in MLflow.

    Raises:
        ConfigError: the store has no experiment of that id, or cannot be asked.
        StoreFaultError: the store does not answer.
    """
    if settings.experiment is not None or not settings.enabled:
        return settings, ""
    if name := _variable(_NAME):
        return replace(settings, experiment=name), f"experiment {name} ({_NAME})"
    if number := _variable(_ID):
        name = _name_of(number, settings, workdir)
        return replace(settings, experiment=name), f"experiment {name} ({_ID}={number})"
    return replace(settings, experiment=DEFAULT_EXPERIMENT), ""


def _variable(name: str) -> str:
    return os.environ.get(name, "").strip()


def _name_of(number: str, settings: TrackingSettings, workdir: Path) -> str:
    from initlab.tracking.store.client import connect

    uri = resolve_uri(settings, workdir)
    place, file = describe_location(uri), sqlite_file(uri)
    if settings.offline:
        raise ConfigError(_ID, number, f"is looked up in the store, and tracking.offline=true: set {_NAME}")
    known = {} if file is not None and not file.exists() else connect(uri, workdir=workdir).experiment_names()
    if number not in known:
        held = ", ".join(f"{i} ({name})" for i, name in list(known.items())[:9]) or "none"
        raise ConfigError(_ID, number, f"is no experiment of {place}, it has {held}; or set {_NAME}, or neither")
    return known[number]
