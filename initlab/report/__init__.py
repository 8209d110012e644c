"""Report of a run: figures, HTML page, Markdown note, and the profile as a table."""

from initlab.report.confusion import recall
from initlab.report.inspection_page import write_inspection, write_sweep
from initlab.report.note import note
from initlab.report.stored import draw_page
from initlab.report.table import read_parquet, write_parquet
from initlab.report.write import write

__all__ = ["draw_page", "note", "read_parquet", "recall", "write", "write_inspection", "write_parquet", "write_sweep"]
