"""Prints the requirements of pyproject.toml and of the named extras, for a separate layer of the images.

    python deploy/requirements.py pyproject.toml [EXTRA ...] [--without NAME ...] [--only-extras]

Code changes more often than its requirements; installed in a separate layer, these are downloaded once.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path


def required(pyproject: str, extras: list[str], *, without: set[str], only_extras: bool) -> list[str]:
    """The requirements, sorted, without those of the names `without`. Raises KeyError for an unknown extra."""
    project = tomllib.loads(pyproject)["project"]
    found: set[str] = set() if only_extras else set(project["dependencies"])
    for extra in extras:
        found |= set(project["optional-dependencies"][extra])
    return sorted(r for r in found if (m := re.match(r"[\w.-]+", r)) and m.group().lower() not in without)


def main() -> int:
    """Exit code 2 where an extra is unknown."""
    words = sys.argv[1:]
    only_extras = "--only-extras" in words
    words = [w for w in words if w != "--only-extras"]
    cut = words.index("--without") if "--without" in words else len(words)
    try:
        lines = required(
            Path(words[0]).read_text(encoding="utf-8"), words[1:cut], without=set(words[cut + 1 :]),
            only_extras=only_extras,
        )  # fmt: skip
    except (IndexError, KeyError, OSError) as error:
        print(f"requirements: {error!r}; usage: {__doc__}", file=sys.stderr)
        return 2
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
