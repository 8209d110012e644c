"""Folders that a command writes: whether they can be written is seen before anything is computed."""

from __future__ import annotations

import tempfile
from pathlib import Path

from initlab.errors import ConfigError


def check_writable(key: str, folder: Path) -> None:
    """Raise ConfigError where `folder` could not be made or written; nothing is left behind.

    Args:
        key: that names it.
        folder: that need not exist.
    """
    place = folder.expanduser().absolute()
    existing = next(p for p in (place, *place.parents) if p.exists())
    if not existing.is_dir():
        what = "is a file" if existing == place else f"lies below a file, {existing}"
        raise ConfigError(key, folder, f"{what}; name a folder, such as {key}=results")
    try:
        with tempfile.TemporaryDirectory(dir=existing, prefix=".initlab-"):
            pass
    except OSError as error:
        raise ConfigError(
            key, folder, f"cannot be written to ({error.strerror}: {existing}); name a folder of yours, {key}=results"
        ) from error
