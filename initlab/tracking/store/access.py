"""Before anything is trained: does the server let us in? A dead one is no reason not to train; one that says no is."""

from __future__ import annotations

import base64
import os
from pathlib import Path

from initlab.errors import ConfigError
from initlab.spec import TrackingSettings
from initlab.tracking.store.account import account
from initlab.tracking.store.faults import StoreFaultError, fault_of
from initlab.tracking.store.location import describe_location, is_server, resolve_uri
from initlab.tracking.store.quiet import ignore_their_warnings

#: to connect and to answer; a server that takes longer is slow or dead, and the records can wait
_SECONDS = (2.0, 4.0)
_CODES = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED"}
#: ways to enter that MLflow's plugins know alone
_OTHERS = ("MLFLOW_TRACKING_AUTH", "MLFLOW_TRACKING_AWS_SIGV4")


def check_access(settings: TrackingSettings, *, workdir: Path) -> None:
    """Ask the server of `settings` for the experiment that the runs go to: one request, without MLflow's import.

    Nothing is asked where records go to a file, or nowhere for now. No answer is no fault: the spool is there for that.

    Raises:
        ConfigError: the server says no (account, permission, name), or its certificate cannot be trusted.
    """
    if not settings.enabled or settings.offline:
        return
    uri = resolve_uri(settings, workdir)
    if not is_server(uri) or any(os.environ.get(key) for key in _OTHERS):
        return
    fault = _asked(uri, settings.experiment)
    if fault is not None and fault.kind == "denied":
        place = describe_location(uri)
        raise ConfigError("tracking.uri", place, fault.reason.removeprefix(f"{place} ")) from fault


def _asked(uri: str, experiment: str) -> StoreFaultError | None:
    import requests

    ignore_their_warnings()
    insecure = os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("true", "1")
    try:
        answer = requests.get(
            f"{uri}/api/2.0/mlflow/experiments/get-by-name",
            params={"experiment_name": experiment},
            headers=_headers(uri),
            timeout=_SECONDS,
            verify=False if insecure else os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or True,
            cert=os.environ.get("MLFLOW_TRACKING_CLIENT_CERT_PATH") or None,
        )
    except (requests.RequestException, OSError) as error:
        return fault_of(error, uri)
    code = _CODES.get(answer.status_code)
    return None if code is None else fault_of(_RefusalError(answer.text, code), uri)


class _RefusalError(Exception):
    """An answer in the form of MLflow's own exceptions."""

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
