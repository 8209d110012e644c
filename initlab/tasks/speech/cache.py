"""Disk cache of computed features: files are whole or absent, and shared by all processes.

A file's name is a hash of everything that its content depends on, so that nothing in it can be out of date. Like a
download it is written beside its place and moved there; processes that want the same one take turns, and the second
finds it made. Each array in it has a checksum, so that a damaged file is noticed and made again.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from initlab.core import durable
from initlab.errors import ConfigError

ENVIRONMENT = "INITLAB_CACHE"
Arrays = Mapping[str, np.ndarray]


def cache_root(cache: Path | None) -> Path:
    """Cache directory: `cache`, else the environment variable INITLAB_CACHE, else the user's cache directory.

    Below the latter two in a folder ``features``. Nothing is made yet.
    """
    if cache is not None:
        return cache.expanduser()
    named = os.environ.get(ENVIRONMENT)
    if named:
        return Path(named).expanduser() / "features"
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("initlab", appauthor=False)) / "features"


def load_or_compute(folder: Path, key: str, compute: Callable[[], Arrays]) -> Arrays:
    """Reads the arrays from the cache file for `key`, or computes and stores them.

    Args:
        folder: of the cache; made where it is absent.
        key: text with everything that the arrays depend on.
        compute: makes the arrays; its errors are passed on and nothing is kept.

    Raises:
        ConfigError: the folder cannot be written.
    """
    from filelock import FileLock

    file = folder / f"{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}.npz"
    found = _read(file)
    if found is not None:
        return found
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(file.with_suffix(".lock"))
        lock.acquire()
    except OSError as error:
        raise ConfigError("data.cache", str(folder), f"cannot be written ({error}); give another folder") from error
    try:
        found = _read(file)  # by whoever held the lock before
        if found is not None:
            return found
        made = compute()
        try:
            _write(file, made)
        except OSError as error:
            raise ConfigError("data.cache", str(folder), f"cannot be written ({error}); give another folder") from error
        return made
    finally:
        lock.release()


# ------------------------------------------------------------------ pieces
def _read(file: Path) -> Arrays | None:
    """The arrays of `file`, None where it is absent or damaged."""
    try:
        with file.open("rb") as content, np.load(content, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError):
        return None


def _write(file: Path, arrays: Arrays) -> None:
    # a name of its own, since one process may have died here and left its part
    with tempfile.NamedTemporaryFile(dir=file.parent, prefix=f".{file.stem}.", suffix=".part", delete=False) as part:
        try:
            np.savez(part, allow_pickle=False, **arrays)
        except BaseException:
            Path(part.name).unlink(missing_ok=True)
            raise
    durable.replace(Path(part.name), file, keep=False)
