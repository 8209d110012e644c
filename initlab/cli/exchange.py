"""`python -m initlab export` and `import`: move studies between stores."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from initlab import config as configuration
from initlab import tracking
from initlab.cli.folders import check_writable
from initlab.errors import ConfigError
from initlab.tracking.spool.spool import write_atomic
from initlab.tracking.transfer.format import OPTUNA, read_json

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from initlab.cli.arguments import Arguments

_EXPORT = "such as initlab export study=NAME to=FOLDER"
_IMPORT = "such as initlab import from=FOLDER tracking.uri=http://mlflow:5000"
_NAME = re.compile(r"[A-Za-z0-9._-]{1,200}")


def export_command(config: DictConfig, arguments: Arguments) -> int:
    """Write a study's runs, and Optuna's record of it where it can be found. Returns the exit code."""
    study, to = arguments.given.get("study", ""), arguments.given.get("to", "")
    if not study or not to:
        raise ConfigError("to" if study else "study", None, f"name a study and a folder, {_EXPORT}")
    check_writable("to", Path(to))
    from initlab.study.search.transfer import as_text, export_record  # brings optuna

    folder = Path(to).expanduser().absolute()
    settings = configuration.tracking_settings(config)
    study = tracking.find_studies([study], settings, workdir=Path.cwd())[0]
    record = export_record(study, workdir=Path.cwd(), storage=_storage(config))
    runs, points = tracking.export_study(study, settings, workdir=Path.cwd(), to=folder, say=_say)
    if record is not None:
        write_atomic(folder / OPTUNA, as_text(record))
    trials = "no record of Optuna's was found from here" if record is None else f"{len(record['trials'])} trials"
    print(f"study {study}: {runs} runs, {points} metric points, {trials}, in {folder}")
    print(f"Next: python -m initlab import from={to} tracking.uri=...")
    return 0


def import_command(config: DictConfig, arguments: Arguments) -> int:
    """Bring an exported study into the store of the configuration. Returns the exit code."""
    source, name = arguments.given.get("from", ""), arguments.given.get("as")
    if not source:
        raise ConfigError("from", None, f"name a folder, {_IMPORT}")
    if name is not None and not _NAME.fullmatch(name):
        raise ConfigError("as", name, "may hold letters, digits, '-', '_' and '.' alone")
    folder = Path(source).expanduser().absolute()
    settings = configuration.tracking_settings(config)
    done = tracking.import_runs(folder, settings, workdir=Path.cwd(), name=name, say=_say)
    print(
        f"study {done.study}: {done.added} runs added, {done.known} already there, {done.points} metric points sent to"
        f" {tracking.describe_location(done.uri)}"
    )
    if (folder / OPTUNA).exists():
        from initlab.study.search.transfer import import_record  # brings optuna

        added = import_record(read_json(folder / OPTUNA), done.study, workdir=Path.cwd(), storage=_storage(config))
        print(f"Optuna's record: {added} trials added")
    print(f"Next: python -m initlab compare study={done.study}")
    return 0


def _storage(config: DictConfig) -> str | None:
    given = config.study.storage
    return None if given is None else str(given)


def _say(line: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)
