"""Adds a worker to a study that was started in this folder: `initlab worker study.name=NAME`."""

from __future__ import annotations

import os
import time
from pathlib import Path

from initlab.errors import ConfigError, one_of
from initlab.study.search.storage import choose_url
from initlab.study.space.plan import STUDIES, folder_of, load
from initlab.study.workers import worker_main


def join(workdir: Path, name: str | None, *, storage: str | None = None) -> int:
    """Train arms of the study `name` below `workdir` until none is left; the worker's exit code.

    Any number of processes may do so, on any machine that sees the folder and the study's storage: under Slurm, one
    line of a batch script. Each draws its samples under a seed of its own. `storage` is needed only where this
    machine reaches the study's database by another URL (with another password) than its leader.

    Raises:
        ConfigError: there is no such study, or its storage cannot be reached.
    """
    known = sorted(p.name for p in (workdir / STUDIES).glob("*") if (p / "plan.json").is_file())
    plan = None if name is None else load(folder_of(workdir, name))
    if name is None or plan is None:
        raise ConfigError(
            "study.name", name,
            one_of(known, name) if known else f"no study was started here ({workdir / STUDIES} holds none)",
        )  # fmt: skip
    return worker_main.main(
        folder_of(workdir, name), os.getpid() + time.time_ns() % 1_000_000, leader=0,
        storage=None if storage is None else choose_url(storage, plan.storage, workdir),
    )  # fmt: skip
