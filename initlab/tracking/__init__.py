"""Records runs in MLflow: records go to a local spool first, and from there to the store by a helper process.

The only package that imports mlflow: not at import time and not in the training process, only where it delivers.
"""

from initlab.tracking.read.artifacts import StoredRun, find_run
from initlab.tracking.read.records import Curve, Found, RunRecord
from initlab.tracking.read.references import find_studies, resolve, study_names
from initlab.tracking.read.reopen import ResumedRun, reopen
from initlab.tracking.read.runs import keep_files, read_artifact, read_curves, read_runs
from initlab.tracking.record.model import log_model
from initlab.tracking.record.null import NullSink
from initlab.tracking.record.sink import RunSink
from initlab.tracking.record.start import preload, start
from initlab.tracking.record.tail import ClosingRuns
from initlab.tracking.store.access import check_access
from initlab.tracking.store.experiment import experiment_name, resolve_experiment
from initlab.tracking.store.location import describe_location, readable_uri, resolve_uri, ui_url
from initlab.tracking.store.ui import ui
from initlab.tracking.transfer.export import export_study
from initlab.tracking.transfer.import_ import ImportResult, import_runs
from initlab.tracking.transfer.register import Registered, register_model
from initlab.tracking.upkeep.duplicates import end_duplicates
from initlab.tracking.upkeep.inputs import copy_inputs
from initlab.tracking.upkeep.sync import SpoolInfo, SyncReport, SyncResult, spools, sync, wait_for_senders

__all__ = [
    "ClosingRuns",
    "Curve",
    "Found",
    "ImportResult",
    "NullSink",
    "Registered",
    "ResumedRun",
    "RunRecord",
    "RunSink",
    "SpoolInfo",
    "StoredRun",
    "SyncReport",
    "SyncResult",
    "check_access",
    "copy_inputs",
    "describe_location",
    "end_duplicates",
    "experiment_name",
    "export_study",
    "find_run",
    "find_studies",
    "import_runs",
    "keep_files",
    "log_model",
    "preload",
    "read_artifact",
    "read_curves",
    "read_runs",
    "readable_uri",
    "register_model",
    "reopen",
    "resolve",
    "resolve_experiment",
    "resolve_uri",
    "spools",
    "start",
    "study_names",
    "sync",
    "ui",
    "ui_url",
    "wait_for_senders",
]
