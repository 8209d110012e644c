"""Adds a worker to a study that was started in this folder: `initlab worker study.name=NAME`."""

from __future__ import annotations

import os
import time
from pathlib import Path

from initlab.errors import ConfigError, one_of
from initlab.study.search.storage import choose_url
from initlab.study.space.plan import STUDIES, folder_of, load
from initlab.study.workers import worker_main
from initlab.tracking import resolve


def find_study(workdir: Path, asked: str | None) -> str:
    """The name of the study below `workdir` that is meant: its name, the beginning of one, or ``last``.

    Raises:
        ConfigError: there is no such study.
        UnknownNameError: the beginning of several names.
    """
    plans = [
        (p, (p / "plan.json").stat().st_mtime) for p in (workdir / STUDIES).glob("*") if (p / "plan.json").is_file()
    ]
    known = [p.name for p, _ in sorted(plans, key=lambda pair: -pair[1])]
    name = None if asked is None else resolve(asked, dict.fromkeys(known, ""), key="study")
    if name in known and load(folder_of(workdir, name)) is not None:
        return name
    if not known:
        what = f"no study was started here ({workdir / STUDIES} holds none); begin one: initlab -m init=he,xavier"
        raise ConfigError("study", asked, what)
    raise ConfigError("study", asked, f"write initlab worker study={known[0]}; {one_of(known, asked)}")


def join(workdir: Path, name: str | None, *, storage: str | None = None) -> int:
    """Train arms of the study `name` below `workdir` until none is left; the worker's exit code.

    Any number of processes may do so, on any machine that sees the folder and the study's storage: under Slurm, one
    line of a batch script. Each draws its samples under a seed of its own. `storage` is needed only where this
    machine reaches the study's database by another URL (with another password) than its leader.

    Raises:
        ConfigError: there is no such study, or its storage cannot be reached.
    """
    folder = folder_of(workdir, find_study(workdir, name))
    plan = load(folder)
    assert plan is not None
    return worker_main.main(
        folder, os.getpid() + time.time_ns() % 1_000_000, leader=0,
        storage=None if storage is None else choose_url(storage, plan.storage, workdir),
    )  # fmt: skip
