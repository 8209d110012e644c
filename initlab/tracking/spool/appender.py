"""Append-only files of lines, which a crash cuts at most in their last line."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


class Appender:
    """An append-only file of JSON lines. A line has been handed to the operating system when `append` returns."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a+b", buffering=0)
        self._size = self._file.seek(0, os.SEEK_END)
        if self._size:
            self._file.seek(-1, os.SEEK_END)
            if self._file.read(1) != b"\n":
                # end the line that a crash cut, so that the next one is separate
                self.append(b"\n")

    def append(self, line: bytes) -> None:
        """Raises OSError (a full disk); the file then ends where it ended before."""
        written = 0
        try:
            while written < len(line):
                written += self._file.write(line[written:])
        except OSError:
            with contextlib.suppress(OSError):
                self._file.truncate(self._size)
            raise
        self._size += written

    def moved(self, path: Path) -> Appender:
        """An appender of a new file `path` with the same content, which outlives the deletion of the former file."""
        self._file.seek(0)
        content = self._file.read()
        new = Appender(path)
        new.append(content)
        self._file.close()
        return new

    def close(self) -> None:
        self._file.close()
