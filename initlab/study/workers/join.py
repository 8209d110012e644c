"""Adds a worker to a study of this folder: `initlab worker study=NAME`, or `study=any` for whichever is open."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from initlab.core.error_line import print_notice
from initlab.errors import ConfigError, InitlabError, one_of
from initlab.study.search.lead import work_left
from initlab.study.search.storage import choose_url
from initlab.study.space.place import require_same_version
from initlab.study.space.plan import STUDIES, copied_from, folder_of, load
from initlab.study.workers import worker_main
from initlab.tracking import resolve

#: name that stands for every study that is open
ANY = "any"
#: seconds between two looks for open studies, and after which one is joined again in which nothing changed
_LOOK_SECONDS, _AGAIN_SECONDS = 5.0, 60.0


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
    require_same_version(plan.version, plan.name)
    original = copied_from(folder)
    if original is not None:
        raise ConfigError(
            "study", plan.name, f"is a copy of {original}: its own command, typed again, makes it a study of its own"
        )
    return worker_main.main(
        folder, os.getpid() + time.time_ns() % 1_000_000, leader=0,
        storage=None if storage is None else choose_url(storage, plan.storage, workdir),
    )  # fmt: skip


def join_any(workdir: Path, stop: threading.Event) -> int:
    """Train arms of every study below `workdir` that is open, one study after another, until `stop` is set.

    Each is worked on by a process of its own, which is asked to end when `stop` is set; scheduled studies are among
    them. A study of another version, or a copy that nobody has gone on with, is passed over.

    Returns:
        0.
    """
    seen: dict[str, tuple[object, float]] = {}
    print_notice(f"worker: it takes every open study of {workdir / STUDIES}; Ctrl-C or SIGTERM stops")
    while not stop.is_set():
        for name in _open_studies(workdir, seen):
            print_notice(f"worker: study {name}")
            command = [sys.executable, "-m", "initlab", "worker", f"study={name}"]
            process = subprocess.Popen(command, cwd=workdir, start_new_session=True)
            while process.poll() is None:
                if stop.wait(0.2):
                    process.terminate()
                    process.wait()
            if stop.is_set():
                break
        stop.wait(_LOOK_SECONDS)
    return 0


def _open_studies(workdir: Path, seen: dict[str, tuple[object, float]]) -> Iterator[str]:
    """Studies with arms to train. One that was joined for nothing is not joined again until something of it changed."""
    for file in sorted((workdir / STUDIES).glob("*/plan.json"), key=lambda f: f.stat().st_mtime):
        name = file.parent.name
        try:
            plan = load(file.parent)
            if plan is None or copied_from(file.parent) is not None:
                continue
            require_same_version(plan.version, plan.name)
            state = work_left(plan.storage, plan.name)
        except InitlabError as error:
            state, told = None, str(error)
            if seen.get(name, ("", 0.0))[0] != told:
                print_notice(f"worker: study {name} is passed over: {told}")
            seen[name] = told, time.monotonic()
        if state is None:
            continue
        before, since = seen.get(name, (None, 0.0))
        if state != before or time.monotonic() - since > _AGAIN_SECONDS:
            yield name
            seen[name] = state, time.monotonic()
