"""The default command: trains one run, or resumes one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from initlab import config as configuration
from initlab import tracking
from initlab.cli.console import Console
from initlab.core.error_line import print_notice
from initlab.errors import ConfigError
from initlab.run.episodes import run_episodes
from initlab.run.train import run
from initlab.train.ranks import Ranks, open_ranks

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from initlab.spec import RunResult


def train_command(config: DictConfig, *, stop: Callable[[], bool]) -> int:
    """Train what `config` says, or, with `resume=ID`, what that run's own configuration says.

    Returns the exit code: 0 where the run reached its end, 1 where it diverged, was stopped, or could not be recorded.
    """
    from hydra.core.hydra_config import HydraConfig

    hydra = HydraConfig.get()
    choices = {str(k): str(v) for k, v in hydra.runtime.choices.items() if v is not None}
    overrides = [str(o) for o in hydra.overrides.task]
    console = Console()
    try:
        with open_ranks(ddp=config.trainer.ddp is True, device=str(config.device)) as ranks:
            if config.resume is not None:
                return _code(_resumed(config, overrides, console=console, stop=stop, ranks=ranks))
            experiment = configuration.experiment(config, choices=choices, overrides=overrides)
            where, origin = tracking.resolve_experiment(experiment.tracking, workdir=Path.cwd())
            experiment = replace(experiment, tracking=where)
            waits = tracking.check_access(where, workdir=Path.cwd())
            for told in (origin, waits):
                if told and ranks.is_first:
                    print_notice(f"tracking: {told}")
            if experiment.task.episodes is None:
                return _code(run(experiment, narrator=console, stop=stop, ranks=ranks))
            if not ranks.is_single:
                raise ConfigError("trainer.ddp", True, "a few-shot run is many small ones: it trains in one process")
            return _code(run_episodes(experiment, narrator=console, stop=stop))
    except KeyboardInterrupt:
        console.interrupted()
        raise
    finally:
        console.close()


def _resumed(
    config: DictConfig, overrides: list[str], *, console: Console, stop: Callable[[], bool], ranks: Ranks
) -> RunResult:
    settings = configuration.tracking_settings(config)
    # as it was typed: the beginning of an id may look like a number (12345e67)
    typed = next((o.partition("=")[2].strip("'\"") for o in overrides if o.startswith("resume=")), str(config.resume))
    # rank 0 records, and has what the run left
    reopened = tracking.reopen(typed, settings, workdir=Path.cwd()) if ranks.is_first else None
    try:
        kept = None if reopened is None else (reopened.folder / "config.yaml").read_text(encoding="utf-8")
        saved = ranks.broadcast(kept) or ""
        merged = configuration.resume_config(saved, config, overrides)
        fresh = [o for o in overrides if not o.startswith("resume=")]
        experiment = configuration.experiment(merged, overrides=[*configuration.saved_overrides(saved), *fresh])
        experiment = replace(experiment, resume=typed)
    except BaseException:
        if reopened is not None:
            reopened.leave()
        raise
    if reopened is not None:
        if fresh and reopened.status in ("finished", "stopped") and ranks.is_first:
            print_notice("the run had ended: if it trains on, momentum and the like of its optimiser start anew")
        reopened = replace(reopened, changed=any(not o.startswith(("tracking", "hydra")) for o in fresh))
    return run(experiment, narrator=console, stop=stop, reopened=reopened, ranks=ranks)


def _code(result: RunResult) -> int:
    return 0 if result.status in ("finished", "stopped") and not result.tracking_fault else 1
