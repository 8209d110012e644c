"""`python -m initlab sync` and `python -m initlab ui`: the records and the MLflow store of this directory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from initlab import tracking
from initlab.config import tracking_settings

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from initlab.cli.arguments import Arguments


def sync_command(config: DictConfig, _arguments: Arguments) -> int:
    """Send what waits in the spool, and end runs that were killed. Returns 1 where records still wait."""
    report = tracking.sync(Path.cwd(), tracking_settings(config))
    print("\n".join(report.lines()))
    return 1 if report.waiting else 0


def ui_command(config: DictConfig, arguments: Arguments) -> int:
    """Run the MLflow UI until it is interrupted. Returns its exit code."""
    settings = tracking_settings(config)
    named = arguments.given.get("run", "")
    run_id = tracking.find_run(named, settings, workdir=Path.cwd()).run_id if named else ""
    return tracking.ui(Path.cwd(), settings, port=settings.ui_port, run_id=run_id)
