"""Folders that a command writes: whether they can be written is seen before anything is computed."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from initlab.errors import ConfigError

if TYPE_CHECKING:
    from initlab.cli.arguments import Arguments


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


def output_folder(arguments: Arguments) -> Path | None:
    """The folder of the option `out`; None where it was not given.

    Raises:
        ConfigError: it could not be written.
    """
    if not arguments.given.get("out"):
        return None
    folder = Path(arguments.given["out"]).expanduser()
    check_writable("out", folder)
    return folder


def write_page(folder: Path, name: str, text: str) -> Path:
    """Write a page below `folder`, which is made where it is missing; returns the file.

    Raises:
        ConfigError: it cannot be written.
    """
    file = (folder / name).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError("out", folder, f"cannot be written to ({error.strerror})") from error
    return file
