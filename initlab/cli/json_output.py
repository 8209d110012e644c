"""Answers of commands as JSON: one object on stdout, with ``schema`` and ``command`` first."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from typing import Any, cast

from initlab.cli.arguments import Arguments
from initlab.errors import ConfigError

#: raised where a field is removed or means something else; a new field leaves it as it is
SCHEMA = 1


def is_asked(arguments: Arguments) -> bool:
    """Whether ``--json`` was typed.

    Raises:
        ConfigError: for a value that is neither true nor false.
    """
    given = arguments.given.get("json", "false").lower()
    if given not in ("true", "false"):
        raise ConfigError("json", given, "write --json, or json=true")
    return given == "true"


def print_json(command: str, fields: Mapping[str, Any]) -> None:
    """Print one object; numbers that JSON does not have (NaN, infinity) are null."""
    found = {"schema": SCHEMA, "command": command, **fields}
    print(json.dumps(_plain(found), indent=1, ensure_ascii=False), file=sys.stdout, flush=True)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in cast("list[Any]", value)]
    if isinstance(value, (bool, int, str)) or value is None:
        return value
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    return number if math.isfinite(number) else None
