"""`python -m initlab sync` and `python -m initlab ui`: the records and the MLflow store of this directory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from initlab import tracking
from initlab.config import tracking_settings
from initlab.core.error_line import print_notice
from initlab.core.signals import interruptible

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from initlab.cli.arguments import Arguments


def sync_command(config: DictConfig, _arguments: Arguments) -> int:
    """Send what waits in the spool, and end runs that were killed. Returns 1 where records wait, or after Ctrl-C."""
    try:
        with interruptible():
            return _sync(config)
    except KeyboardInterrupt:
        print_notice("interrupted; what was not sent still waits here: python -m initlab sync goes on")
        return 1


def _sync(config: DictConfig) -> int:
    settings = tracking_settings(config)
    report = tracking.sync(Path.cwd(), settings)
    print("\n".join(report.lines()))
    if any(run.study for run in report.runs):
        from initlab.study.results.strays import end_strays  # brings Optuna

        if ended := end_strays(report.runs, settings, workdir=Path.cwd()):
            print(f"{ended} of them were trained again in the meantime: set to killed, their study does not count them")
    return 1 if report.waiting else 0


def ui_command(config: DictConfig, arguments: Arguments) -> int:
    """Run the MLflow UI until it is interrupted. Returns its exit code."""
    settings = tracking_settings(config)
    named = arguments.given.get("run", "")
    run_id = tracking.find_run(named, settings, workdir=Path.cwd()).run_id if named else ""
    return tracking.ui(Path.cwd(), settings, port=settings.ui_port, run_id=run_id)
