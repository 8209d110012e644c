"""Reads the keys of a file in `conf/` with the comments above them, without composing anything."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from initlab.core.plugins import conf_dirs
from initlab.errors import UnknownNameError, one_of

_KEY = re.compile(r"([A-Za-z_][\w.]*):\s*(.*)")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A key of a configuration file: its default as written, and the comment above it."""

    key: str
    default: str
    comment: str


@dataclass(frozen=True, kw_only=True)
class ConfFile:
    """A configuration file: the comment that it begins with, its factory, and its keys."""

    path: Path
    about: str
    target: str
    entries: tuple[Entry, ...]


def files_of(group: str) -> dict[str, Path]:
    """Name → file of a group, initlab's own and those of plug-ins; ``papers/NAME`` for one in a folder below it."""
    places = [conf / group for conf in reversed(conf_dirs())]
    return {f.relative_to(p).with_suffix("").as_posix(): f for p in places for f in sorted(p.rglob("*.yaml"))}


def group_names() -> list[str]:
    """Every group of `conf/`."""
    return sorted({f.name for conf in conf_dirs() for f in conf.iterdir() if f.is_dir() and any(f.glob("*.yaml"))})


def find_file(group: str, name: str) -> Path:
    """The file `name` of `group`.

    Raises:
        UnknownNameError: naming the valid groups or files.
    """
    if group not in group_names():
        raise UnknownNameError(f"{group}: no such group; {one_of(group_names(), group)}")
    files = files_of(group)
    if name not in files:
        raise UnknownNameError(f"{group}={name}: no such file; {one_of(files, name)}")
    return files[name]


def read_conf_file(path: Path) -> ConfFile:
    """The file's own comment and its top-level keys, each with the comment right above it.

    Keys of files that it builds on (``defaults: [grid]``) come first. In a file without a factory the first line of the
    leading comment is the file's, the others are those of the first key.
    """
    entries: dict[str, Entry] = {}
    about: list[str] = []
    pending: list[str] = []
    target, seen = "", False
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            pending.append(line.lstrip("# "))
            continue
        found = _KEY.match(line)
        if found is None:
            pending = pending if seen or line.strip() == "" else []
            if line.strip().startswith("- ") and not line.strip().startswith("- override"):
                entries.update(_inherited(path, line.strip("- ")))
            continue
        key, value = found.groups()
        if not seen:
            split = len(pending) if key in ("_target_", "defaults") else 1
            about, pending, seen = pending[:split], pending[split:], True
        if key == "_target_":
            target = value
        elif key == "defaults":
            for name in re.findall(r"[\w./]+", value):
                entries.update(_inherited(path, name))
        else:
            entries[key] = Entry(key=key, default=value, comment=" ".join(pending))
        pending = []
    return ConfFile(path=path, about=" ".join(about or pending), target=target, entries=tuple(entries.values()))


def _inherited(path: Path, name: str) -> dict[str, Entry]:
    # a plug-in's file may build on one of initlab's
    file = files_of(path.parent.name).get(name)
    return {e.key: e for e in read_conf_file(file).entries} if file is not None and file != path else {}
