"""docker-compose.yml as Compose would read it, and its services as processes of this machine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)(?:(:?[-?])([^}]*))?\}")


class AbsentError(Exception):
    """A variable that the file cannot do without."""


def substituted(text: str, variables: Mapping[str, str]) -> str:
    """`text` with its variables, by the rules of the compose specification (section Interpolation)."""

    def value(found: re.Match[str]) -> str:
        name, how, word = found.group(1), found.group(2) or "", found.group(3) or ""
        given = variables.get(name)
        absent = not given if how.startswith(":") else given is None
        if absent and how.endswith("?"):
            raise AbsentError(f"{name}: {word}")
        return (word if absent and how else given) or ""

    return _VARIABLE.sub(value, text)


def dotenv(text: str) -> dict[str, str]:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def loaded(variables: Mapping[str, str]) -> dict[str, Any]:
    return dict(yaml.safe_load(substituted(FILE.read_text(encoding="utf-8"), variables)))


def mapped(value: Any, places: Mapping[str, str]) -> Any:
    """`value`, a tree of texts, with every place of the containers (a path, a host, a port) put where it is here."""
    if isinstance(value, dict):
        return {key: mapped(v, places) for key, v in value.items()}
    if isinstance(value, list):
        return [mapped(v, places) for v in value]
    # in one go, the longest first: what was put in place is not looked at again
    words = "|".join(re.escape(old) for old in sorted(places, key=len, reverse=True))
    return re.sub(words, lambda found: places[found.group()], str(value))
