"""Downloads a file atomically with a checksum, and finds the data directory.

A download goes into a folder beside its target and is moved into place only after its checksum held. Whatever stops it
half-way, the target is never a part of a file. Two processes that want the same file take turns.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from initlab.core import durable
from initlab.core.exchange import PATIENCE, Deadline, LateError, exchange, say_waiting
from initlab.errors import DataError

ENVIRONMENT = "INITLAB_DATA"
#: seconds to answer, and for a whole file at most
_ANSWER, _LONGEST = 30.0, 3600.0
#: bytes a second of the slowest network that is waited for, and of the largest file whose size is not announced
_SLOWEST, _LARGEST = 50_000, 4 << 30


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
        DataError: no URL gave the file in time, or it could not be written; says which file to put where.
    """
    if target.exists():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _turn(target):
            if not target.exists():
                _download(target, urls, md5, instead)
    except OSError as error:
        raise _missing(target, urls, md5, f"{error}", instead) from error
    return target


# ------------------------------------------------------------------ pieces
@contextmanager
def _turn(target: Path) -> Generator[None]:
    """While open, no other process downloads `target`. Raises OSError where one has done so for too long."""
    from filelock import FileLock, Timeout

    lock = FileLock(target.with_name(f".{target.name}.lock"))
    try:
        lock.acquire(timeout=PATIENCE)
    except Timeout:
        say_waiting(f"another process that fetches {target.name}", _LONGEST)
        try:
            lock.acquire(timeout=_LONGEST)
        except Timeout:
            raise OSError(f"another process has been fetching it for {_LONGEST:.0f} s; {lock.lock_file}") from None
    try:
        yield
    finally:
        lock.release()


def _download(target: Path, urls: Sequence[str], md5: str, instead: str) -> None:
    import pooch

    pooch.get_logger().setLevel("WARNING")
    # whoever holds the lock owns this folder; what lies in it was left by a process that died
    part = target.with_name(f".{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    reasons: list[str] = []
    try:
        for url in urls:

            def retrieve(deadline: Deadline, url: str = url) -> None:
                # its own protocol of a downloader names the arguments otherwise than its downloaders do
                pooch.retrieve(
                    url, known_hash=f"md5:{md5}", fname=target.name, path=part,
                    downloader=partial(_get, deadline=deadline),  # pyright: ignore[reportArgumentType]
                )  # fmt: skip

            try:
                exchange(retrieve, peer=f"{urlsplit(url).hostname} ({target.name})", seconds=_ANSWER)
                # pooch checked the sum; moving within one folder is atomic
                durable.replace(part / target.name, target)
                return
            except (OSError, ValueError) as error:
                reasons.append(f"{url}: {_reason(error)}")
                shutil.rmtree(part, ignore_errors=True)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    raise _missing(target, urls, md5, "; ".join(reasons), instead)


def _get(url: str, file: str, _pooch: object, *, deadline: Deadline) -> None:
    """Write what `url` holds to `file`: an answer within the deadline, which the size then puts off."""
    import requests

    name = urlsplit(url).path.rsplit("/", 1)[-1]
    with requests.get(url, stream=True, timeout=0.8 * _ANSWER) as answer, Path(file).open("wb") as out:
        answer.raise_for_status()
        length = answer.headers.get("Content-Length", "")
        expected = int(length) if length.isdecimal() else None
        deadline.extend(_LONGEST if expected is None else min(expected / _SLOWEST, _LONGEST))
        got, shown = 0, 0.0
        for piece in answer.iter_content(1 << 16):
            got += len(piece)
            if got > (_LARGEST if expected is None else expected):
                raise OSError(f"is larger than {(_LARGEST if expected is None else expected) >> 20} MB")
            out.write(piece)
            if sys.stderr.isatty() and time.monotonic() > shown + 0.2:
                shown = time.monotonic()
                of = "" if expected is None else f" of {expected >> 20}"
                print(f"\r\033[K{name}: {got >> 20}{of} MB", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    # compressed on its way, it may have another length than was announced
    if expected is not None and got < expected and not answer.headers.get("Content-Encoding"):
        raise OSError("IncompleteRead")


def _reason(error: Exception) -> str:
    # the checksum differs, or fewer bytes came than were announced
    if "hash" in str(error) or "IncompleteRead" in str(error):
        return "broke off or has a wrong checksum"
    if isinstance(error, LateError):
        return "did not send it in time"
    return str(error) or type(error).__name__


def _missing(target: Path, urls: Sequence[str], md5: str, why: str, instead: str) -> DataError:
    source = urls[0] if urls else "its source"
    return DataError(
        "data.root",
        None,
        f"{target} is not there and could not be fetched ({why}). "
        f"Put it there by hand from {source} (md5 {md5}); {instead}",
    )
