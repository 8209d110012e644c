"""`python -m initlab worker`: one more worker for a study that was started in this folder."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from initlab.study.workers.join import ANY, find_study, join, join_any

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from initlab.cli.arguments import Arguments


def worker_command(config: DictConfig, _arguments: Arguments) -> int:
    """Train arms of the study until none is left. Returns the exit code."""
    name, storage = config.study.name, config.study.storage
    if name is not None and str(name) == ANY:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        return join_any(Path.cwd(), stop)
    study = find_study(Path.cwd(), None if name is None else str(name))
    code = join(Path.cwd(), study, storage=None if storage is None else str(storage))
    if code == 0:
        print(f"worker: no arm of study {study} is left to train")
        print(f"Next: python -m initlab compare study={study}")
    else:
        print(f"worker: stopped before study {study} was done")
        print(f"Next: python -m initlab worker study={study}   (goes on with what is left)")
    return code
