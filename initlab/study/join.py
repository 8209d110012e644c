"""`initlab worker study.name=NAME`: one more worker for a study that was begun in this folder."""

from __future__ import annotations

import os
import time
from pathlib import Path

from initlab.errors import ConfigError, one_of
from initlab.study import worker_main
from initlab.study.plan import STUDIES, folder_of, load


def join(workdir: Path, name: str | None) -> int:
    """Take arms of the study `name` below `workdir` until none is left; the worker's exit code.

    Any number of processes may, on any machine that sees the folder and the study's storage: under Slurm, a line of a
    batch script. Each draws its samples under a seed of its own.

    Raises:
        ConfigError: there is no such study.
    """
    known = sorted(p.name for p in (workdir / STUDIES).glob("*") if (p / "plan.json").is_file())
    if name is None or load(folder_of(workdir, name)) is None:
        raise ConfigError("study.name", name, one_of(known, name) if known else "no study was begun in this directory")
    return worker_main.main(folder_of(workdir, name), os.getpid() + time.time_ns() % 1_000_000, leader=0)
