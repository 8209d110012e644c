"""Explains several values of a key (``init=he,xavier``) where Hydra wants one: ``-m`` trains each of them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from initlab.config.compose import groups
from initlab.config.overrides import quote_formulas, split_at_top_level
from initlab.errors import ConfigError

#: how Hydra refuses `KEY=a,b`, and `KEY=choice(a,b)` or any other sweep
_REFUSED = re.compile(r"(Ambiguous value for argument|Sweep parameters) '(.*)'(?: requires --multirun)?$", re.MULTILINE)
_NEEDS_QUOTES = frozenset("()[]{}*\"' ")


def explain_several_values(text: str, overrides: Sequence[str], command: str) -> ConfigError | None:
    """The error for several values of one key; None where `text` is about something else.

    Args:
        text: Hydra's own message.
        overrides: as typed.
        command: of the command line; ``train`` also where none was typed.
    """
    found = _REFUSED.search(text)
    if found is None:
        return None
    line = found[2]
    # as typed: initlab has put quotes around formulas
    typed = next((o for o in overrides if o == line or _as_read(o) == line), line)
    return several_values(typed, typed, command)


def several_values(typed: str, meant: str, command: str) -> ConfigError:
    """The error for several values of one key.

    Args:
        typed: the override.
        meant: the same with its values as they are spelt.
        command: of the command line.
    """
    key, _, value = typed.partition("=")
    _, _, wanted = meant.partition("=")
    if key.lstrip("+") == "seed":
        return ConfigError(key, value, "holds several values: seeds are replicas of a study, add -m and replicas=R")
    # not of a function: sort(2,1)
    values = split_at_top_level(wanted) if len(split_at_top_level(wanted)) > 1 else []
    as_list = f'"{key}=[{wanted}]" (a list) or ' if values else ""
    as_one = f"for one value write {as_list}\"{key}='{wanted}'\" (a text), quotes included"
    # a group takes the name of one file, and no list or text
    end = "" if key.lstrip("+") in groups() else f"; {as_one}"
    if command == "inspect":
        grid = ", ".join(values or ["A", "B"])
        what = f"inspect takes 'sweep={{{key.lstrip('+')}: [{grid}]}}'"
    elif command != "train":
        what = f"{command} takes one"
    else:
        sampler = " and a sampler (study=tpe study.trials=N)" if "interval(" in value else ""
        shown = f"'{meant}'" if _NEEDS_QUOTES & set(meant) else meant
        what = f"add -m{sampler} to train each of them (initlab -m {shown})"
    return ConfigError(key, value, f"holds several values: {what}{end}")


def _as_read(override: str) -> str:
    try:
        return quote_formulas([override])[0]
    except ConfigError:
        return override
