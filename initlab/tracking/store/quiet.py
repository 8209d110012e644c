"""Silences the log lines and warnings of MLflow and its libraries, so that they do not break a progress bar."""

from __future__ import annotations

import contextlib
import logging
import threading
import warnings
from collections.abc import Generator

_NOISY = ("mlflow", "sqlalchemy.engine", "alembic", "huey", "urllib3.connectionpool", "urllib3.util.retry", "git")
_NOISY_MODULES = r"(mlflow|sqlalchemy|alembic|pydantic|google|requests|urllib3|git)(\.|$)"


class _Hush(logging.Filter):
    """Drops log lines of libraries from threads inside `silence_mlflow`; the user's own use of MLflow still logs."""

    def __init__(self) -> None:
        super().__init__()
        self.here = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:
        return not getattr(self.here, "quiet", False)


_hush = _Hush()


def ignore_mlflow_warnings() -> None:
    """Ignore warnings about MLflow's own use of deprecated calls, even under python -W error."""
    warnings.filterwarnings("ignore", module=_NOISY_MODULES)
    warnings.filterwarnings("ignore", message=".*noload.*")


@contextlib.contextmanager
def silence_mlflow() -> Generator[None]:
    """Silence MLflow and its libraries on the terminal for this thread."""
    for name in _NOISY:
        logger = logging.getLogger(name)
        for target in (logger, *logger.handlers):
            target.addFilter(_hush)
    before = getattr(_hush.here, "quiet", False)
    _hush.here.quiet = True
    try:
        yield
    finally:
        _hush.here.quiet = before
