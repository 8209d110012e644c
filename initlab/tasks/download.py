"""Downloads a file atomically with a checksum, and finds the data directory.

A download goes into a folder beside its target and is moved into place only after its checksum held. Whatever stops it
half-way, the target is never a part of a file. Two processes that want the same file take turns.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from initlab.errors import DataError

ENVIRONMENT = "INITLAB_DATA"
_SECONDS_OF_SILENCE = 30.0


def data_root(root: Path | None) -> Path:
    """Data directory: `root`, else the environment variable INITLAB_DATA, else the user's cache directory.

    Raises:
        DataError: a root was named, by argument or variable, that does not exist. Only the cache directory is made
            when it is needed: a misspelt root would otherwise be filled with a second copy of everything.
    """
    if root is not None:
        found = root.expanduser()
        if not found.is_dir():
            raise DataError("data.root", str(root), "is not a directory; make it, or correct the path")
        return found
    named = os.environ.get(ENVIRONMENT)
    if named:
        found = Path(named).expanduser()
        if not found.is_dir():
            raise DataError(
                "data.root",
                None,
                f"the environment variable {ENVIRONMENT}={named} is not a directory; make it, "
                "correct the variable, or give data.root=...",
            )
        return found
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("initlab", appauthor=False)) / "data"


def md5_of(path: Path) -> str:
    """MD5 of a file as hex digits: a check for damage against published sums, not for authenticity."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def check_md5(path: Path, md5: str) -> None:
    """Raises DataError where the file's checksum is not `md5`."""
    found = md5_of(path)
    if found != md5:
        raise DataError(
            "data.root",
            str(path),
            f"is damaged or another file: its md5 is {found}, it must be {md5}; "
            "delete it to fetch it again, or replace it",
        )


def fetch(target: Path, urls: Sequence[str], md5: str, *, instead: str = "data=digits needs no download") -> Path:
    """Ensures that `target` exists: downloads it from the first of `urls` that works.

    Args:
        target: where the file belongs. Taken as it is where it exists.
        urls: tried in order.
        md5: published checksum of the file.
        instead: what else the user could do, for the error.

    Raises:
        DataError: no URL gave the file, or it could not be written; says which file to put where.
    """
    if target.exists():
        return target
    from filelock import FileLock

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(f".{target.name}.lock")):
            if not target.exists():
                _download(target, urls, md5, instead)
    except OSError as error:
        raise _missing(target, urls, md5, f"{error}", instead) from error
    return target


# ------------------------------------------------------------------ pieces
def _download(target: Path, urls: Sequence[str], md5: str, instead: str) -> None:
    import pooch

    pooch.get_logger().setLevel("WARNING")
    # whoever holds the lock owns this folder; what lies in it was left by a process that died
    part = target.with_name(f".{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    reasons: list[str] = []
    fetcher = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=_SECONDS_OF_SILENCE)
    try:
        for url in urls:
            try:
                # its own protocol of a downloader names the arguments otherwise than its downloaders do
                pooch.retrieve(
                    url, known_hash=f"md5:{md5}", fname=target.name, path=part,
                    downloader=fetcher,  # pyright: ignore[reportArgumentType]
                )  # fmt: skip
                # pooch checked the sum; moving within one folder is atomic
                (part / target.name).replace(target)
                return
            except (OSError, ValueError) as error:
                reasons.append(f"{url}: {_reason(error)}")
                shutil.rmtree(part, ignore_errors=True)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    raise _missing(target, urls, md5, "; ".join(reasons), instead)


def _reason(error: Exception) -> str:
    # the checksum differs, or fewer bytes came than were announced
    if "hash" in str(error) or "IncompleteRead" in str(error):
        return "broke off or has a wrong checksum"
    return str(error) or type(error).__name__


def _missing(target: Path, urls: Sequence[str], md5: str, why: str, instead: str) -> DataError:
    source = urls[0] if urls else "its source"
    return DataError(
        "data.root",
        None,
        f"{target} is not there and could not be fetched ({why}). "
        f"Put it there by hand from {source} (md5 {md5}); {instead}",
    )
