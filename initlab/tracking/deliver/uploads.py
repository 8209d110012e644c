"""Sends the files of a run, and sees whether a server has kept them before the spool that holds them is deleted.

MLflow's answer to an upload is empty, and so is that of a proxy which takes everything for a while: only the list of
what there is tells whether a file has arrived.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from initlab.tracking.deliver.sender import Sender
from initlab.tracking.spool import spool
from initlab.tracking.spool.spool import Json
from initlab.tracking.store.faults import StoreFaultError
from initlab.tracking.store.location import describe_location, is_server

_log = logging.getLogger("initlab.tracking")


class Uploads:
    """The files of one spool: artifacts, and the checkpoints of a run that keeps them."""

    def __init__(self, folder: Path, sender: Sender, *, stop: Callable[[], bool]) -> None:
        self._folder = folder
        self._sender = sender
        self._stop = stop

    def send(self, events: Sequence[Json], end: int) -> StoreFaultError | None:
        """Send what was not sent; once the run has its `end` (an index of `events`, or -1), all has to be there.

        Returns the first fault: one file that cannot be stored must not keep the others from being sent.
        """
        fault = self._sent(events, end)
        if end < 0 or fault is not None or not is_server(self._sender.progress.uri) or self._stop():
            return fault
        if not self._forget_missing(events):
            return None
        # it has not kept what it took: once more
        if (fault := self._sent(events, end)) is not None or self._stop():
            return fault
        lacking = self._forget_missing(events)
        place = describe_location(self._sender.progress.uri)
        return StoreFaultError("away", f"{place} took {lacking} file(s) and has not kept them") if lacking else None

    def _sent(self, events: Sequence[Json], end: int) -> StoreFaultError | None:
        fault = self._artifacts(events)
        if fault is None and end >= 0 and events[end].get("checkpoints"):
            return self._checkpoints()
        return fault

    def _artifacts(self, events: Sequence[Json]) -> StoreFaultError | None:
        first: StoreFaultError | None = None
        progress = self._sender.progress
        for index, event in enumerate(events):
            if event["kind"] != "artifact" or index in progress.artifacts or self._stop():
                continue
            fault = self._upload(self._folder / event["path"], str(event["folder"]))
            if fault is None:
                progress.artifacts.append(index)
                if is_server(progress.uri):  # to copy a file again costs less than to note that it was copied
                    self._sender.save()
            first = first or fault
            if fault is not None and is_server(progress.uri):
                break
        return first

    def _checkpoints(self) -> StoreFaultError | None:
        progress = self._sender.progress
        for file in spool.checkpoint_files(self._folder):
            mark = spool.checkpoint_mark(self._folder, file)
            if mark in progress.checkpoints or self._stop():
                continue
            fault = self._upload(file, file.parent.relative_to(self._folder).as_posix())
            if fault is not None:
                return fault
            progress.checkpoints.append(mark)
            self._sender.save()
        return None

    def _upload(self, file: Path, folder: str) -> StoreFaultError | None:
        if not file.exists():
            _log.warning("artifact %s vanished from the spool", file.name)
            return None
        try:
            self._sender.client().upload(self._sender.progress.run_id, file, folder)
        except StoreFaultError as fault:
            return StoreFaultError("away", fault.reason) if fault.kind == "refused" else fault
        return None

    def _forget_missing(self, events: Sequence[Json]) -> int:
        """Forget that files were sent which the server does not have, so that they are sent again; how many."""
        progress = self._sender.progress
        # the last of each name: an artifact replaces an earlier one
        sent: dict[tuple[str, str], tuple[Path, int | str]] = {}
        for index in sorted(i for i in progress.artifacts if i < len(events)):
            file = self._folder / events[index]["path"]
            sent[str(events[index]["folder"]), file.name] = file, index
        for mark in progress.checkpoints:
            file = self._folder / mark.rsplit(":", 2)[0]
            sent[file.parent.relative_to(self._folder).as_posix(), file.name] = file, mark
        lacking = 0
        for folder in sorted({folder for folder, _ in sent}):
            kept = self._sender.client().files(progress.run_id, folder)
            for (within, name), (file, mark) in sent.items():
                if kept is None or within != folder or not file.exists():
                    continue
                if name in kept and kept[name] in (None, file.stat().st_size):
                    continue
                lacking += 1
                if isinstance(mark, int):
                    progress.artifacts.remove(mark)
                else:
                    progress.checkpoints.remove(mark)
        if lacking:
            self._sender.save()
        return lacking
