"""`python -m initlab report`: writes the page of a run or a study to a file, and opens it in the browser."""

from __future__ import annotations

import sys
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

from initlab import config as configuration
from initlab import tracking
from initlab.cli.folders import check_writable
from initlab.errors import ConfigError
from initlab.tracking import StoredRun

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from initlab.cli.arguments import Arguments
    from initlab.spec import TrackingSettings

#: name of the page among a run's artifacts
PAGE = "report.html"
#: folder of the pages, where no other was named
FOLDER = Path(".initlab") / "reports"


def report_command(config: DictConfig, arguments: Arguments) -> int:
    """Fetch the page of a run or a study, and say where it is.

    Raises:
        ConfigError: both a run and a study are named, the run has no page, or the folder cannot be written.
    """
    given = arguments.given
    run, study = given.get("run", ""), given.get("study", "")
    if run and study:
        raise ConfigError("run", run, f"name one run or one study: leave out run={run} or study={study}")
    opened = given.get("open", "true").lower()
    if opened not in ("true", "false"):
        raise ConfigError("open", opened, "must be true or false")
    settings = configuration.tracking_settings(config)
    if not settings.enabled:
        raise ConfigError("tracking", "none", "there is nothing to read without a store; leave out tracking=none")
    folder = Path(given["out"]) if given.get("out") else Path.cwd() / FOLDER
    check_writable("out", folder)
    stored = _of_study(study, settings) if study else tracking.find_run(run or "last", settings, workdir=Path.cwd())
    file = _fetch(stored, folder)
    shown = opened == "true" and sys.stdout.isatty() and webbrowser.open(file.as_uri())
    print(f"{'opened' if shown else 'written to'} {file}")
    kind = "study" if study else "run"
    print(
        f"Next: python -m initlab explain {kind}={study or stored.run_id}   (the same in the terminal, and what to try)"
    )
    return 0


def _of_study(asked: str, settings: TrackingSettings) -> StoredRun:
    """The run that stands for a study in the store."""
    study = tracking.find_studies([asked], settings, workdir=Path.cwd())[0]
    found = tracking.read_runs(settings, workdir=Path.cwd(), studies=(study,))
    parent = found.parents.get(study)
    if parent is None:
        raise ConfigError("study", asked, "no such study here; python -m initlab list shows what there is")
    return tracking.find_run(parent.run_id, settings, workdir=Path.cwd())


def _fetch(stored: StoredRun, folder: Path) -> Path:
    """The page below `folder`, in a folder with the name of the run."""
    name = "".join(c if c.isalnum() or c in "-_." else "-" for c in stored.name) or "run"
    place = folder / f"{name}-{stored.run_id[:8]}"
    place.mkdir(parents=True, exist_ok=True)
    if not stored.fetch([PAGE], place):
        place.rmdir()
        raise ConfigError(
            "run",
            stored.run_id,
            f"{stored.name} has no page: it was recorded with tracking.report=false, as an arm of a study, or by"
            f" inspect; python -m initlab explain run={stored.run_id} says it in the terminal",
        )
    return (place / PAGE).absolute()
