"""The account that a server is entered with, as MLflow finds it: the URI, the environment, `~/.mlflow/credentials`."""

from __future__ import annotations

import configparser
import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

_USER, _PASSWORD, _TOKEN = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"


@dataclass(frozen=True, kw_only=True)
class Account:
    """Who enters; all empty where nobody is named."""

    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)


def account(uri: str) -> Account:
    """Whom the server at `uri` is told."""
    parts = urlsplit(uri)
    if parts.username:
        return Account(user=unquote(parts.username), password=unquote(parts.password or ""))
    kept = _file()
    user = os.environ.get(_USER) or kept.get(_USER.lower(), "")
    password = os.environ.get(_PASSWORD) or kept.get(_PASSWORD.lower(), "")
    token = os.environ.get(_TOKEN, "")
    # MLflow takes a token only where it has not both of the others
    return Account(user=user, password=password) if user and password else Account(user=user, token=token)


def _file() -> dict[str, str]:
    parser = configparser.ConfigParser()
    try:
        parser.read(Path("~/.mlflow/credentials").expanduser(), encoding="utf-8")
        return dict(parser["mlflow"]) if parser.has_section("mlflow") else {}
    except (configparser.Error, OSError, RuntimeError, UnicodeDecodeError):
        return {}
