"""Sink of an untracked run (tracking=none): records and writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from initlab.spec import Record, RunStatus


class NullSink:
    """A `spec.Sink` for `tracking=none`. There is no folder, so there are no checkpoints either."""

    run_id = "untracked"
    uid = "untracked"
    uri = ""
    folder: Path | None = None
    checkpoint_dir: Path | None = None

    def wait_id(self, timeout: float) -> str:
        del timeout
        return self.run_id

    def location(self) -> str:
        return ""

    def sync(self) -> None:
        """Nothing is to be synced."""

    def write(self, record: Record) -> None:
        """Forget `record`."""

    def tag(self, tags: Mapping[str, str]) -> None:
        """Forget `tags`."""

    def artifact(self, path: Path, folder: str = "", *, move: bool = False) -> None:
        """Leave the file `path` where it is."""

    def text(self, name: str, text: str, folder: str = "") -> None:
        """Forget `text`."""

    def made(self, name: str, make: Callable[[Path], object], folder: str = "") -> None:
        """Make nothing."""

    def close(self, status: RunStatus, *, checkpoints: bool | None = None) -> str:
        """Nothing waits anywhere."""
        del status, checkpoints
        return ""
