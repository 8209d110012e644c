"""Names that a command line may hold: groups, their files and keys, read from `conf/` without composing it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache

from initlab.cli.conf_files import files_of, find_file, group_names, read_conf_file
from initlab.core.plugins import conf_dir

#: groups in the order in which a key without its group is looked for
_ORDER = ("optimizer", "trainer", "model", "init", "data", "activation", "lr_schedule", "probes", "tracking", "study")
#: groups of commands, whose keys no run reads, and of files that hold no group of their own
_OTHERS = ("compare", "experiment", "gc", "inspect", "schedule")
_CHOSEN = re.compile(r"  - (\w+): (\S+)$", re.MULTILINE)


@cache
def groups() -> frozenset[str]:
    """Groups of files that can be chosen."""
    return frozenset(set(group_names()) - {"schedule"})


@cache
def top_keys() -> frozenset[str]:
    """Keys of the top level that are no group: seed, device, ..."""
    return frozenset({e.key for e in read_conf_file(conf_dir() / "config.yaml").entries} - {"hydra"})


@cache
def keys_of(group: str, name: str) -> frozenset[str]:
    """Keys of a file."""
    return frozenset(e.key for e in read_conf_file(find_file(group, name)).entries)


@cache
def keys_of_group(group: str) -> frozenset[str]:
    """Keys of all files of a group."""
    return frozenset().union(*(keys_of(group, name) for name in files_of(group)))


def groups_with(key: str) -> list[str]:
    """Groups of a run that have a file with `key`."""
    others = sorted(groups() - {*_ORDER, *_OTHERS})
    return [g for g in (*_ORDER, *others) if g in groups() and key in keys_of_group(g)]


def files_with(group: str, key: str) -> list[str]:
    """Files of `group` that have `key`, those that are another's name for it last."""
    return [name for name in sorted(files_of(group)) if key in keys_of(group, name)]


def chosen_file(group: str, overrides: Sequence[str]) -> str | None:
    """The file of `group` under these overrides; None where it cannot be known without composing."""
    typed = [o.partition("=")[2] for o in overrides if o.partition("=")[0] == group]
    if typed:
        return typed[-1] if typed[-1] in files_of(group) else None
    if any(o.startswith("experiment=") for o in overrides):
        return None
    default = _defaults().get(group, "")
    name = chosen_file("task", overrides) if default == "${task}" else default
    return name if name in files_of(group) else None


@cache
def _defaults() -> dict[str, str]:
    return dict(_CHOSEN.findall((conf_dir() / "config.yaml").read_text(encoding="utf-8")))


def listed(names: Iterable[str], most: int = 3) -> str:
    """A few names, and how many more there are."""
    found = list(names)
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return f"{', '.join(found[:most])}{more}"
