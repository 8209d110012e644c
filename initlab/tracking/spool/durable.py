"""Brings what a run has written to its spool onto the disk, in a thread, so that training never waits for it.

A power cut costs at most the last `EVERY_SECONDS`: the beginning of the spool is synced at once, records and events
that long after they were written at the latest, a checkpoint never before the records that it follows.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from pathlib import Path

from initlab.core.durable import sync_file, sync_folder
from initlab.tracking.spool import spool

#: seconds from a write to its sync
EVERY_SECONDS = 2.0
_log = logging.getLogger("initlab.tracking")


def sync_beginning(folder: Path) -> None:
    """Bring the header of a spool onto the disk, and the names of the folders that lead to it.

    Before anything in a store names the run: who else should end it after a power cut? Raises OSError.
    """
    for name in (spool.HEADER, spool.HEADER_COPY, spool.CONFIG):
        with contextlib.suppress(FileNotFoundError):
            sync_file(folder / name)
    # the spool, .initlab/spool, .initlab, the working directory
    for place in (folder, *folder.absolute().parents[:4]):
        with contextlib.suppress(PermissionError):
            sync_folder(place)


class SpoolSync:
    """Syncs the spool of one run, from the moment of `begin` until `close`.

    Attributes:
        vanished: whether the files of the spool were deleted while it was written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._written, self._closed = threading.Event(), threading.Event()
        #: artifacts that are not on the disk yet; added by one thread, taken by others
        self._new: deque[Path] = deque()
        self._begun = False
        self._told = False
        self._thread: threading.Thread | None = None
        self.vanished = False

    def begin(self) -> None:
        """Start syncing; the header, and the folders that lead to it, are the first."""
        self._written.set()
        self._thread = threading.Thread(target=self._run, name="initlab-sync", daemon=True)
        self._thread.start()

    def restart(self) -> None:
        """The spool was made again: its header is synced once more."""
        self.vanished = self._begun = False

    def wrote(self) -> None:
        """Something was appended to the records or the events."""
        if not self._written.is_set():
            self._written.set()

    def made(self, file: Path) -> None:
        """An artifact was made; its event is appended after this call."""
        self._new.append(file)

    def look(self) -> None:
        """Notice whether the spool was deleted."""
        self.vanished |= not (self._folder / spool.RECORDS).exists()

    def sync(self) -> None:
        """Wait until all that was written so far is on the disk: artifacts before the events that name them."""
        with self._lock:
            self._written.clear()
            try:
                self._sync()
            except OSError as error:
                self.vanished = not (self._folder / spool.RECORDS).exists()
                if not self.vanished and not self._told:
                    self._told = True
                    what = error.strerror or error
                    _log.warning("%s cannot be synced to its disk (%s); training continues", self._folder, what)

    def close(self) -> None:
        """Sync for the last time."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            self.sync()

    def _run(self) -> None:
        while not self._closed.is_set():
            if self._written.wait(EVERY_SECONDS):
                self.sync()
            else:
                self.look()
            self._closed.wait(EVERY_SECONDS)

    def _sync(self) -> None:
        begun, self._begun = self._begun, True
        if not begun:
            sync_beginning(self._folder)
        folders: set[Path] = set()
        while self._new:
            file = self._new.popleft()
            folders.add(file.parent)
            with contextlib.suppress(FileNotFoundError):
                sync_file(file)
        for folder in folders:
            with contextlib.suppress(FileNotFoundError):
                sync_folder(folder)
        for name in (spool.RECORDS, spool.EVENTS):
            sync_file(self._folder / name)
