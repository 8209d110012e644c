"""Recording runs: every record goes to a local spool first, and from there to MLflow by a helper process.

The only room that imports mlflow: not when it is imported, nor in the process that trains, but where it delivers.
"""

from initlab.tracking.read.artifacts import KeptRun, find_run
from initlab.tracking.read.reopen import Reopened, reopen
from initlab.tracking.read.runs import Curve, Found, RunRecord, keep_files, read_artifact, read_curves, read_runs
from initlab.tracking.record.model import log_model
from initlab.tracking.record.null import NullSink
from initlab.tracking.record.sink import RunSink
from initlab.tracking.record.start import start
from initlab.tracking.record.tail import Tail
from initlab.tracking.store.access import check_access
from initlab.tracking.store.location import describe_location, resolve_uri, ui_url
from initlab.tracking.store.ui import ui
from initlab.tracking.transfer.export import export_study
from initlab.tracking.transfer.import_ import Imported, import_runs
from initlab.tracking.upkeep.duplicates import end_strays
from initlab.tracking.upkeep.sync import SpoolInfo, Synced, SyncReport, await_others, spools, sync

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
