"""`GROUP._target_=mypkg.Net` on the command line: one's own class or function in place of a group's file.

The keys of the file that would have been chosen are left out; those that are typed are the arguments. Typing the name
of a package of the current directory or of PYTHONPATH is the trust that `config.targets` is for; an installed package
has to be named there.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from typing import Any

#: groups whose file names a factory
GROUPS = ("task", "data", "model", "init", "activation", "optimizer", "lr_schedule")
_TRUST = "config.targets"
_DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+", re.ASCII)
_OURS = ("initlab", "torch", "torchvision")


def allow_new_keys(overrides: Sequence[str]) -> list[str]:
    """The overrides as Hydra needs them: keys of a group with a typed `_target_` need not be in any file.

    ``model._target_=mypkg.Net model.width=64`` becomes ``++model._target_=mypkg.Net ++model.width=64``.
    """
    own = _own_groups(overrides)
    return [f"++{o.lstrip('+')}" if _group_of(o) in own and not o.startswith("~") else o for o in overrides]


def plain_keys(overrides: Sequence[str]) -> list[str]:
    """The overrides without the signs that `allow_new_keys` adds, as they name the keys of a study."""
    own = _own_groups(overrides)
    return [o.removeprefix("++") if _group_of(o) in own else o for o in overrides]


def trust_typed_targets(overrides: Sequence[str]) -> list[str]:
    """The overrides with `config.targets`, where a typed `_target_` is of a package that is one's own.

    For the command line alone: whoever types the name trusts the package; a file that holds the same does not.
    """
    named = (n for o in overrides if _is_target(o) for n in _DOTTED.findall(o.partition("=")[2]))
    packages = sorted({package for n in named if is_own(package := n.partition(".")[0])})
    typed = [n for o in overrides if _key(o) == _TRUST for n in re.findall(r"[^\[\],'\"\s]+", o.partition("=")[2])]
    missing = [p for p in packages if p not in typed]
    if not missing:
        return list(overrides)
    return [*(o for o in overrides if _key(o) != _TRUST), f"{_TRUST}=[{','.join([*typed, *missing])}]"]


def without_file_keys(tree: Mapping[str, Any], typed: Iterable[str]) -> dict[str, Any]:
    """`tree` where a group with a typed `_target_`, and no typed file, has the typed keys alone."""
    overrides = list(typed)
    found = dict(tree)
    for group in _own_groups(overrides):
        keys = {_key(o).split(".")[1] for o in overrides if _group_of(o) == group}
        if isinstance(found.get(group), dict):
            found[group] = {k: v for k, v in found[group].items() if k in keys}
    return found


def is_own(package: str) -> bool:
    """Whether `package` is one of the current directory or PYTHONPATH; nothing is imported."""
    if package in _OURS or package in sys.stdlib_module_names:
        return False
    spec = find_package(package)
    if spec is None:
        return False
    places = [*(spec.submodule_search_locations or ()), *([spec.origin] if spec.origin else [])]
    return bool(places) and not {"site-packages", "dist-packages"} & {part for p in places for part in Path(p).parts}


def find_package(package: str) -> ModuleSpec | None:
    """The spec of a top-level package; the current directory is looked through too, as `python -m` does."""
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)
    try:
        return find_spec(package)
    except (ImportError, ValueError):
        return None


# ------------------------------------------------------------------ pieces
def _own_groups(overrides: Sequence[str]) -> list[str]:
    """The groups whose `_target_` is typed and whose file is not."""
    chosen = {_key(o) for o in overrides}
    return [g for g in GROUPS if f"{g}._target_" in chosen and g not in chosen]


def _is_target(override: str) -> bool:
    group, _, key = _key(override).partition(".")
    return key == "_target_" and group in GROUPS


def _group_of(override: str) -> str:
    """The group that an override is of a key of; empty for the choice of a file, and for flags."""
    group, dot, _ = _key(override).partition(".")
    return group if dot else ""


def _key(override: str) -> str:
    return "" if override.startswith("-") else override.partition("=")[0].lstrip("+~")
