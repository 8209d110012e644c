"""Checks before training that the server accepts the account. A dead server is no error; a refusal is."""

from __future__ import annotations

import base64
import os
from pathlib import Path

from initlab.core.exchange import Deadline, exchange
from initlab.errors import ConfigError
from initlab.spec import TrackingSettings
from initlab.tracking.store.account import account
from initlab.tracking.store.answers import judged
from initlab.tracking.store.experiment import experiment_name
from initlab.tracking.store.faults import StoreFaultError, classify_error
from initlab.tracking.store.location import describe_location, is_server, resolve_uri, sqlite_file
from initlab.tracking.store.quiet import ignore_mlflow_warnings
from initlab.tracking.store.revision import require_current

#: to connect, and for all of it; a server that takes longer is slow or dead, and the records wait in the spool
_CONNECT_SECONDS, _SECONDS = 2.0, 6.0
#: bytes of an answer, which describes one experiment
_LARGEST = 4 << 20
_CODES = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED"}
#: ways to authenticate that only MLflow's plugins can use
_PLUGIN_VARIABLES = ("MLFLOW_TRACKING_AUTH", "MLFLOW_TRACKING_AWS_SIGV4")


def check_access(settings: TrackingSettings, *, workdir: Path) -> str:
    """Request the experiment of the runs from the server of `settings`: one request, without importing MLflow.

    Sends nothing where records go to a file, or offline. No answer is no error: the spool holds the records meanwhile.
    Returns a sentence that says so, empty where the server answered.

    A SQLite store of an older MLflow is brought up to date, after a copy was made (`revision.py`).

    Raises:
        ConfigError: the server refuses (account, permission, name), its certificate cannot be trusted, or a newer
            MLflow wrote the SQLite store.
    """
    if not settings.enabled or settings.offline:
        return ""
    uri = resolve_uri(settings, workdir)
    file = sqlite_file(uri)
    if file is not None:
        require_current(file)
    if not is_server(uri) or any(os.environ.get(key) for key in _PLUGIN_VARIABLES):
        return ""
    fault = _request_experiment(uri, experiment_name(settings))
    if fault is not None and fault.kind == "denied":
        place = describe_location(uri)
        raise ConfigError("tracking.uri", place, fault.reason.removeprefix(f"{place} ")) from fault
    if fault is None or fault.kind != "away":
        return ""
    return (
        f"{fault.reason}: training goes on, and its records wait in .initlab/spool; to send them later:"
        " python -m initlab sync"
    )


def _request_experiment(uri: str, experiment: str) -> StoreFaultError | None:
    import requests

    ignore_mlflow_warnings()
    insecure = os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("true", "1")

    def ask(_deadline: Deadline) -> tuple[int, str]:
        with judged(largest=_LARGEST):
            answer = requests.get(
                f"{uri}/api/2.0/mlflow/experiments/get-by-name",
                params={"experiment_name": experiment},
                headers=_headers(uri),
                timeout=(_CONNECT_SECONDS, 0.8 * _SECONDS),
                allow_redirects=False,
                verify=False if insecure else os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or True,
                cert=os.environ.get("MLFLOW_TRACKING_CLIENT_CERT_PATH") or None,
            )
        return answer.status_code, answer.text

    try:
        status, said = exchange(ask, peer=describe_location(uri), seconds=_SECONDS)
    except (requests.RequestException, OSError) as error:
        return classify_error(error, uri)
    code = _CODES.get(status)
    return None if code is None else classify_error(_RefusalError(said, code), uri)


class _RefusalError(Exception):
    """An answer of the server in the form of MLflow's own exceptions."""

    def __init__(self, text: str, code: str) -> None:
        super().__init__(text)
        self.error_code = code


def _headers(uri: str) -> dict[str, str]:
    known = account(uri)
    if known.token:
        return {"Authorization": f"Bearer {known.token}"}
    if known.user and known.password:
        word = base64.standard_b64encode(f"{known.user}:{known.password}".encode()).decode()
        return {"Authorization": f"Basic {word}"}
    return {}
