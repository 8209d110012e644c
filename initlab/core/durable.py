"""Files that survive a power cut: synced before they take their name, and their folder after that.

What was written lies in the memory of the operating system for up to half a minute. A rename may reach the disk before
the content of the file does: without a sync, a file that was "written beside, then moved" can be empty after a power
cut. `replace` here is for states that must be there afterwards; caches, which only must not be damaged, spare the sync
of the folder.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def sync_file(file: Path) -> None:
    """Wait until the content of `file` is on the disk. Raises OSError."""
    _sync(file, os.O_RDWR | getattr(os, "O_BINARY", 0))


def sync_folder(folder: Path) -> None:
    """Wait until the names in `folder` are on the disk, where its file system can tell."""
    if os.name == "posix":  # elsewhere a folder cannot be opened
        _sync(folder, os.O_RDONLY)


def sync_new_folders(folder: Path, root: Path) -> None:
    """Sync `folder` and its parents up to `root`, which names the first of them."""
    for place in (folder, *folder.parents):
        sync_folder(place)
        if place == root:
            return


def replace(part: Path, target: Path, *, keep: bool = True) -> None:
    """Move the complete file `part` to `target`: after a power cut that has the old or the new content, whole.

    Args:
        part: in the folder of `target`.
        target: which it replaces.
        keep: whether the new content must be there afterwards; False for caches.
    """
    sync_file(part)
    part.replace(target)
    if keep:
        sync_folder(target.parent)


def write(target: Path, text: str, *, mode: int = 0o644, keep: bool = True) -> None:
    """Replace `target` by `text` so that nobody ever sees a part of it, also after a power cut.

    Args:
        target: of which the folder exists.
        text: written as UTF-8.
        mode: of the file.
        keep: as of `replace`.
    """
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        replace(part, target, keep=keep)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
