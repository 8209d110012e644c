"""Where a study lies: whether it was moved or copied since its plan was written, and by which version of initlab.

A study that was moved, or is seen through another mount, goes on in the place where it is found. A copy beside its
original becomes a study of its own when it is first written to.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from initlab.core.version import __version__
from initlab.errors import ConfigError

#: of plan.json: 1 had absolute paths and no version
FORMAT = 2
_SQLITE = "sqlite:///"


def place_of(folder: Path) -> dict[str, Any]:
    """Path and number of a folder, as a plan keeps them."""
    state = folder.stat()
    return {"path": str(folder.absolute()), "device": state.st_dev, "inode": state.st_ino}


def original_of(folder: Path, plan: str) -> Path | None:
    """The folder that `folder` is a copy of, where that still holds the same study; None where it is no copy."""
    kept = _read(folder / plan)
    was = kept.get("place")
    if not isinstance(was, dict) or not kept.get("id"):
        return None
    here, there = place_of(folder), Path(str(was.get("path")))
    if here["path"] == str(there) or (here["device"], here["inode"]) == (was.get("device"), was.get("inode")):
        return None
    if there.is_dir() and there.samefile(folder):  # seen through a link
        return None
    return there if _read(there / plan).get("id") == kept["id"] else None


def relative_url(url: str, workdir: Path) -> str:
    """`url` of a database, relative where it is a file below `workdir`."""
    file = Path(url.removeprefix(_SQLITE))
    if not url.startswith(_SQLITE) or not file.is_relative_to(workdir.absolute()):
        return url
    return f"{_SQLITE}{file.relative_to(workdir.absolute()).as_posix()}"


def absolute_url(url: str, workdir: Path, former: Path) -> str:
    """The database that `relative_url` wrote; one below the `former` working directory has moved with the study."""
    if not url.startswith(_SQLITE):
        return url
    file = Path(url.removeprefix(_SQLITE))
    if file.is_absolute() and file.is_relative_to(former):
        file = file.relative_to(former)
    return f"{_SQLITE}{(workdir.absolute() / file).as_posix()}"


def check_format(plain: Mapping[str, Any], known: frozenset[str], file: Path) -> None:
    """Raises ConfigError for a plan that this version of initlab cannot read, and says which one can."""
    writer = str(plain.get("version") or "0.1.0")
    number = plain.get("format", 1)
    unknown = sorted(set(plain) - known)
    if not isinstance(number, int) or number > FORMAT or unknown:
        what = f"has {', '.join(unknown)}, which" if unknown else f"has format {number}, which"
        raise ConfigError(
            "study", file.parent.name, f"{what} initlab {__version__} does not know: initlab {writer} wrote it;"
            " go on with that version, or start a study with another study.name=",
        )  # fmt: skip


def require_same_version(version: str, name: str) -> None:
    """Raises ConfigError where a worker is of another version than the leader that wrote the plan."""
    if version != __version__:
        raise ConfigError(
            "study", name, f"its plan is of initlab {version or 'before 0.1.0'}, and this worker {__version__}: use one"
            " version for all; the command that began the study, typed again, brings its plan up to date",
        )  # fmt: skip


def _read(file: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}
