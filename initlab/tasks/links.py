"""Refuses symbolic links that lead out of a data folder: the user may be able to read what its maker may not."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from initlab.errors import DataError


def refuse_links_out(files: Iterable[Path], home: Path, *, key: str = "data.path") -> None:
    """Raises DataError for a file of `home`, found in it and named by nobody, that is a link to somewhere else.

    `home` itself may be a link: the user named it.
    """
    inside = home.resolve()
    leads_in: dict[Path, bool] = {}
    for file in files:
        if file.parent not in leads_in:
            leads_in[file.parent] = file.parent.resolve().is_relative_to(inside)
        if not leads_in[file.parent] or (file.is_symlink() and not file.resolve().is_relative_to(inside)):
            raise DataError(key, str(file), f"is a link that leads out of {home}; put what it names there instead")
