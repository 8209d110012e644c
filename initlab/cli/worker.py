"""`python -m initlab worker`: one more worker for a study that was started in this folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from initlab.study.workers.join import join

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from initlab.cli.arguments import Arguments


def worker_command(config: DictConfig, _arguments: Arguments) -> int:
    """Train arms of the study until none is left. Returns the exit code."""
    name, storage = config.study.name, config.study.storage
    return join(Path.cwd(), None if name is None else str(name), storage=None if storage is None else str(storage))
