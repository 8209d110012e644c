"""`python -m initlab report`: writes the page of a run, a study or an inspection, and opens it in the browser."""

from __future__ import annotations

import sys
import tempfile
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

from initlab import config as configuration
from initlab import tracking
from initlab.cli.folders import check_writable
from initlab.errors import ConfigError
from initlab.report.note import shell_line
from initlab.report.stored import NEEDED, draw_page
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
    """Fetch or draw the page of a run, a study or an inspection, and say where it is.

    Raises:
        ConfigError: several are named, there is no page and none can be drawn, or the folder cannot be written.
    """
    given = arguments.given
    named = {k: given[k] for k in ("run", "study", "inspect") if given.get(k)}
    if len(named) > 1:
        (key, value), *others = named.items()
        beside = ", ".join(f"{k}={v}" for k, v in others)
        raise ConfigError(
            key, value, f"cannot be given together with {beside}; name one run, one study or one inspection"
        )
    opened = given.get("open", "true").lower()
    if opened not in ("true", "false"):
        raise ConfigError("open", opened, "must be true or false")
    settings = configuration.tracking_settings(config)
    if not settings.enabled:
        raise ConfigError("tracking", "none", "there is nothing to read without a store; leave out tracking=none")
    folder = Path(given["out"]) if given.get("out") else Path.cwd() / FOLDER
    check_writable("out", folder)
    stored = _find(named, settings)
    file = _page(stored, folder)
    shown = opened == "true" and sys.stdout.isatty() and webbrowser.open(file.as_uri())
    print(f"{'opened' if shown else 'written to'} {file}")
    print(f"Next: {_next(stored)}")
    return 0


def _find(named: dict[str, str], settings: TrackingSettings) -> StoredRun:
    """The run that has the page."""
    if "study" in named:
        return _of_study(named["study"], settings)
    if "inspect" in named:
        stored = tracking.find_run(named["inspect"], settings, workdir=Path.cwd(), kind="inspect")
        if stored.kind != "inspect":
            raise ConfigError("inspect", named["inspect"], f"is no inspection; write run={named['inspect']}")
        return stored
    return tracking.find_run(named.get("run", "last"), settings, workdir=Path.cwd())


def _next(stored: StoredRun) -> str:
    if stored.kind == "inspect":
        line = shell_line(_typed(stored), "python -m initlab advise")
        return f"{line}   (recommends an initialisation and an activation for this network)"
    asked = f"study={stored.tags.get('initlab.study', '')}" if stored.kind == "study" else f"run={stored.run_id}"
    return f"python -m initlab explain {asked}   (the same in the terminal, and what to try)"


def _typed(stored: StoredRun) -> list[str]:
    """What was typed for an inspection, without the settings of `inspect` itself."""
    with tempfile.TemporaryDirectory() as scratch:
        if not stored.fetch(["config.yaml"], Path(scratch)):
            return []
        typed = configuration.original_overrides((Path(scratch) / "config.yaml").read_text(encoding="utf-8"))
    return [o for o in typed if not o.startswith("inspect.")]


def _of_study(asked: str, settings: TrackingSettings) -> StoredRun:
    """The run that stands for a study in the store."""
    study = tracking.find_studies([asked], settings, workdir=Path.cwd())[0]
    found = tracking.read_runs(settings, workdir=Path.cwd(), studies=(study,))
    parent = found.parents.get(study)
    if parent is None:
        raise ConfigError("study", asked, "no such study here; python -m initlab list shows what there is")
    return tracking.find_run(parent.run_id, settings, workdir=Path.cwd())


def _page(stored: StoredRun, folder: Path) -> Path:
    """The page below `folder`, in a folder with the name of the run: the one that was kept, else drawn now."""
    name = "".join(c if c.isalnum() or c in "-_." else "-" for c in stored.name) or "run"
    place = folder / f"{name}-{stored.run_id[:8]}"
    file = (place / PAGE).absolute()
    place.mkdir(parents=True, exist_ok=True)
    if stored.fetch([PAGE], place):
        return file
    with tempfile.TemporaryDirectory() as scratch:
        there = stored.fetch(NEEDED, Path(scratch))
        if set(there) == set(NEEDED):
            try:
                file.write_text(draw_page(Path(scratch)), encoding="utf-8", errors="backslashreplace")
            except (ValueError, KeyError, TypeError) as error:
                place.rmdir()
                raise ConfigError("run", stored.run_id, f"its page cannot be drawn: {error}") from error
            return file
    place.rmdir()
    why = stored.tags.get("initlab.error") or "it is still running, ended early, or was recorded by an older initlab"
    raise ConfigError("run", stored.run_id, f"{stored.name} has no page, and nothing to draw one from: {why}")
