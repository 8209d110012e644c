"""Reads the MLflow account: from the URI, the environment or `~/.mlflow/credentials`, as MLflow does."""

from __future__ import annotations

import configparser
import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

_USER, _PASSWORD, _TOKEN = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"


@dataclass(frozen=True, kw_only=True)
class Account:
    """User, password and token; all empty where none is configured."""

    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)


def account(uri: str) -> Account:
    """The account that is used for the server at `uri`."""
    parts = urlsplit(uri)
    if parts.username:
        return Account(user=unquote(parts.username), password=unquote(parts.password or ""))
    kept = _read_credentials_file()
    user = os.environ.get(_USER) or kept.get(_USER.lower(), "")
    password = os.environ.get(_PASSWORD) or kept.get(_PASSWORD.lower(), "")
    token = os.environ.get(_TOKEN, "")
    # MLflow uses a token only where user and password are not both set
    return Account(user=user, password=password) if user and password else Account(user=user, token=token)


def _read_credentials_file() -> dict[str, str]:
    parser = configparser.ConfigParser()
    try:
        parser.read(Path("~/.mlflow/credentials").expanduser(), encoding="utf-8")
        return dict(parser["mlflow"]) if parser.has_section("mlflow") else {}
    except (configparser.Error, OSError, RuntimeError, UnicodeDecodeError):
        return {}
