"""MLflow's own client of a store, with the settings of its environment that initlab needs."""

from __future__ import annotations

import importlib
import os
from typing import Any

from initlab.core.exchange import exchange
from initlab.tracking.store.limits import LimitedClient
from initlab.tracking.store.location import describe_location, is_server, sqlite_file
from initlab.tracking.store.quiet import ignore_mlflow_warnings, silence_mlflow

#: seconds for the connection to a database server, which may have to create its tables
_OPENING = 100.0
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_DISABLE_AGENT_HINT": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # delivery retries by itself; MLflow's own retries would block it for minutes
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    # a redirect would carry the records to a host that nobody named
    "MLFLOW_ALLOW_HTTP_REDIRECTS": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}


def prepare_environment() -> None:
    """Set what MLflow reads when it is imported, where the user has not set it."""
    for key, value in _ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    ignore_mlflow_warnings()


def load_library(uri: str) -> None:
    """Import the parts of MLflow that a client of `uri` needs, which takes seconds."""
    prepare_environment()
    for name in ("mlflow.tracking", *(() if is_server(uri) else ("mlflow.store.tracking.sqlalchemy_store",))):
        importlib.import_module(name)


def load_client(uri: str) -> Any:
    """MLflow's client for `uri`; imports MLflow, which takes seconds."""
    prepare_environment()
    from mlflow.tracking import MlflowClient

    # once more: importing MLflow installed its log handlers
    with silence_mlflow():
        if sqlite_file(uri) is not None:
            return MlflowClient(tracking_uri=uri)
        # of a database server, it connects at once and creates the tables where they are missing
        peer = describe_location(uri)
        made = exchange(lambda _: MlflowClient(tracking_uri=uri), peer=peer, seconds=_OPENING)
        return LimitedClient(made, uri)
