"""Parses the command line of `initlab server` into `ServerSettings`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from initlab.errors import ConfigError, one_of

_HIGHEST_PORT = 65535


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """Settings of the server.

    Attributes:
        home: folder of its records, artifacts, accounts and secrets.
        port: of MLflow, on loopback.
        postgres: an embedded PostgreSQL instead of SQLite.
        postgres_port: where that listens, on loopback.
        workers: processes that answer requests.
        allowed_hosts: names, beside localhost, by which the server may be called (a proxy in front of it).
    """

    home: Path
    port: int = 5000
    postgres: bool = False
    postgres_port: int = 5433
    workers: int = 2
    allowed_hosts: tuple[str, ...] = ()


def parse_settings(given: Mapping[str, str], workdir: Path) -> ServerSettings:
    """The settings from the options of the command line.

    Raises:
        ConfigError: an option that the server has not, or a value that it cannot take.
    """
    for key, value in given.items():
        if key not in _KEYS:
            raise ConfigError(key, value, f"the server has no such setting; {one_of(_KEYS, key)}")
    values = {key: _KEYS[key](key, value) for key, value in given.items()}
    home = workdir / str(values.pop("home", Path(".initlab") / "server"))
    settings = ServerSettings(home=home.absolute(), **values)  # type: ignore[arg-type]
    if settings.postgres and settings.port == settings.postgres_port:
        raise ConfigError("postgres_port", settings.postgres_port, "is MLflow's port too; choose another")
    return settings


def _int_parser(low: int, high: int) -> Callable[[str, str], object]:
    def take(key: str, value: str) -> int:
        if not value.isascii() or not value.isdecimal() or not low <= int(value) <= high:
            raise ConfigError(key, value, f"must be a whole number from {low} to {high}")
        return int(value)

    return take


def _parse_bool(key: str, value: str) -> bool:
    word = value.lower()
    if word not in ("true", "false", "1", "0"):
        raise ConfigError(key, value, "must be true or false")
    return word in ("true", "1")


def _parse_hosts(key: str, value: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in value.strip("[]").split(",") if name.strip())
    wrong = next((name for name in names if "/" in name or " " in name), None)
    if wrong is not None or not names:
        raise ConfigError(key, wrong or value, "names without http://, separated by commas, such as mlflow.example.org")
    return names


def _parse_folder(key: str, value: str) -> Path:
    if not value:
        raise ConfigError(key, value, "name a folder")
    return Path(value).expanduser()


_KEYS: dict[str, Callable[[str, str], object]] = {
    "home": _parse_folder,
    "port": _int_parser(1, _HIGHEST_PORT),
    "postgres": _parse_bool,
    "postgres_port": _int_parser(1, _HIGHEST_PORT),
    "workers": _int_parser(1, 64),
    "allowed_hosts": _parse_hosts,
}
