"""Keeping MLflow and what it imports off the user's terminal, and away from a progress bar."""

from __future__ import annotations

import contextlib
import logging
import threading
import warnings
from collections.abc import Generator

_NOISY = ("mlflow", "sqlalchemy.engine", "alembic", "huey", "urllib3.connectionpool", "urllib3.util.retry", "git")
_NOISY_MODULES = r"(mlflow|sqlalchemy|alembic|pydantic|google|requests|urllib3|git)(\.|$)"


class _Hush(logging.Filter):
    """Drops what libraries log from threads that are inside `quietly`; the user's own use of MLflow keeps its lines."""

    def __init__(self) -> None:
        super().__init__()
        self.here = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:
        return not getattr(self.here, "quiet", False)


_hush = _Hush()


def ignore_their_warnings() -> None:
    """MLflow's own use of deprecated calls is no business of the user, not even under python -W error."""
    warnings.filterwarnings("ignore", module=_NOISY_MODULES)
    warnings.filterwarnings("ignore", message=".*noload.*")


@contextlib.contextmanager
def quietly() -> Generator[None]:
    """Keep MLflow and its libraries off the terminal for this thread."""
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
