"""Draws the page of a run from the files that were kept with it."""

from __future__ import annotations

from pathlib import Path

from initlab.report.data import FILE, ReportData
from initlab.report.page import all_figures, page
from initlab.report.table import read_parquet

PROFILE = "profile.parquet"
#: files of a run from which its page can be drawn
NEEDED = (FILE, PROFILE)


def draw_page(folder: Path) -> str:
    """The page of a run as HTML, from `report.json` and `profile.parquet` in `folder`.

    Raises:
        ValueError, KeyError, TypeError: the files are not what `write` wrote.
    """
    data = read_data(folder)
    return page(data, all_figures(data))


def read_data(folder: Path) -> ReportData:
    """What a run's page is drawn from, read from the same files.

    Raises:
        ValueError, KeyError, TypeError: the files are not what `write` wrote.
    """
    return ReportData.from_json((folder / FILE).read_text(encoding="utf-8"), read_parquet(folder / PROFILE))
