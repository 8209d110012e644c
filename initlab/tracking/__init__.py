"""Recording runs: every record goes to a local spool first, and from there to MLflow by a helper process.

The only room that imports mlflow: not when it is imported, nor in the process that trains, but where it delivers.
"""

from initlab.tracking.access import check_access
from initlab.tracking.artifacts import KeptRun, find_run
from initlab.tracking.exporting import export_study
from initlab.tracking.importing import Imported, import_runs
from initlab.tracking.location import describe_location, resolve_uri, ui_url
from initlab.tracking.model import log_model
from initlab.tracking.null import NullSink
from initlab.tracking.reading import Curve, Found, RunRecord, keep_files, read_artifact, read_curves, read_runs
from initlab.tracking.reopen import Reopened, reopen
from initlab.tracking.sink import RunSink
from initlab.tracking.start import start
from initlab.tracking.strays import end_strays
from initlab.tracking.sync import SpoolInfo, Synced, SyncReport, await_others, spools, sync
from initlab.tracking.tail import Tail
from initlab.tracking.ui import ui

__all__ = [
    "Curve",
    "Found",
    "Imported",
    "KeptRun",
    "NullSink",
    "Reopened",
    "RunRecord",
    "RunSink",
    "SpoolInfo",
    "SyncReport",
    "Synced",
    "Tail",
    "await_others",
    "check_access",
    "describe_location",
    "end_strays",
    "export_study",
    "find_run",
    "import_runs",
    "keep_files",
    "log_model",
    "read_artifact",
    "read_curves",
    "read_runs",
    "reopen",
    "resolve_uri",
    "spools",
    "start",
    "sync",
    "ui",
    "ui_url",
]
