"""Starts the default command before torch is loaded: signal handlers first, and the worker process of a study."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from initlab.cli.arguments import Arguments
from initlab.cli.compose import compose_and_run
from initlab.core.parent import stop_with_parent
from initlab.core.signals import stop_gently

if TYPE_CHECKING:
    from omegaconf import DictConfig

#: words of a command line that ask for a study, and those with which it has no worker here
_SEARCHES = frozenset({"-m", "--multirun"})
_NO_WORKER = frozenset({"--hydra-help", "--cfg", "-c", "--info", "-i", "study.engine=ray", "study.workers=0"})


def launch(arguments: Arguments) -> int:
    """Train one run, or with ``-m`` a study. Returns the exit code.

    Raises:
        UnknownNameError: for a word that is no override.
    """
    stop = threading.Event()

    def act(config: DictConfig) -> int:
        from initlab.cli.train import train_command  # brings torch

        return train_command(config, stop=stop.is_set)

    stop_gently(stop, "ending the run after this update")
    stop_with_parent()
    typed = arguments.overrides
    if _SEARCHES.intersection(typed) and not _NO_WORKER.intersection(typed):
        from initlab.study.workers.worker_pool import POOL, threads

        # what its first worker imports takes as long as all that has to be done before it
        POOL.ensure(1, threads=threads(1))
    return compose_and_run(typed, act)
