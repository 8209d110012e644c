"""Tries remedies: follow-up runs with the same data, seed and budget, compared with the original run."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from initlab import config as configuration
from initlab import tracking
from initlab.advice.explain.recorded import Recorded, read_recorded
from initlab.advice.explain.story import Explanation, explain_run, learned_fraction, trains
from initlab.diagnosis.rules import Evidence
from initlab.errors import InitlabError
from initlab.report.note import replace_overrides
from initlab.run.narrator import Narrator
from initlab.run.train import run
from initlab.spec import Experiment, Remedy, TrackingSettings

#: maximum number of remedies to try
TRIES = 3
#: tags of a follow-up run: id of the original run, and the changed overrides
FOLLOWS, CHANGED = "initlab.follows", "initlab.remedy"


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """Result of one remedy.

    Attributes:
        verdict: ``helped`` where the run trains now and did not before, or does better without its cause; ``better``
            where it only learned more; ``no`` otherwise.
        gone, stayed, new: names of failures and warnings, compared with the original run.
        error: why it could not be run; empty where it ran.
    """

    remedy: Remedy
    run_id: str = ""
    verdict: Literal["helped", "better", "no"] = "no"
    evidence: Evidence | None = None
    gone: tuple[str, ...] = ()
    stayed: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    error: str = ""


def try_remedies(
    told: Recorded,
    found: Explanation,
    settings: TrackingSettings,
    *,
    workdir: Path,
    narrator: Callable[[], Narrator | None] = lambda: None,
    tries: int = TRIES,
) -> Generator[Attempt]:
    """Run the remedies in turn until one helps, at most `tries`; yields each attempt as it ends."""
    for remedy in found.remedies[:tries]:
        try:
            experiment = follow_up(told, remedy, settings)
            result = run(experiment, workdir=workdir, narrator=narrator())
            after = read_recorded(tracking.find_run(result.run_id, experiment.tracking, workdir=workdir))
        except InitlabError as error:
            yield Attempt(remedy=remedy, error=str(error))
            continue
        attempt = judge_attempt(remedy, told.evidence, found, after)
        yield attempt
        if attempt.verdict == "helped":
            return


def follow_up(told: Recorded, remedy: Remedy, settings: TrackingSettings) -> Experiment:
    """The run's own configuration with the remedy put over it: the same data, seed and budget.

    Args:
        settings: of tracking; the experiment is that of the original run.

    Raises:
        ConfigError: the remedy is incompatible with the rest of the configuration.
    """
    typed = configuration.original_overrides(told.config)
    kept = [o for o in typed if not o.startswith("tracking")]
    tree = configuration.compose_follow_up(told.config, remedy.overrides)
    experiment = configuration.experiment(tree, overrides=replace_overrides(kept, remedy.overrides))
    tags = {FOLLOWS: told.run.run_id, CHANGED: " ".join(remedy.overrides), **_own_tags(settings)}
    recording = replace(settings, experiment=told.run.experiment, run_name=None, enabled=True, tags=tags)
    return replace(experiment, tracking=recording)


def judge_attempt(remedy: Remedy, before: Evidence, found: Explanation, after: Recorded) -> Attempt:
    """Compare the follow-up with the original run."""
    now = explain_run(after.evidence)
    was = [f.name for f in ((found.cause,) if found.cause else ()) + found.others if f.severity != "note"]
    has = [f.name for f in ((now.cause,) if now.cause else ()) + now.others if f.severity != "note"]
    more = learned_fraction(after.evidence) > learned_fraction(before) or (
        not trains(before) and trains(after.evidence)
    )
    cured = trains(after.evidence) and found.cause is not None and found.cause.name not in has
    return Attempt(
        remedy=remedy,
        run_id=after.run.run_id,
        verdict="helped" if cured and more else "better" if more else "no",
        evidence=after.evidence,
        gone=tuple(n for n in was if n not in has),
        stayed=tuple(n for n in was if n in has),
        new=tuple(n for n in has if n not in was),
    )


def _own_tags(settings: TrackingSettings) -> dict[str, str]:
    return {k: v for k, v in settings.tags.items() if not k.startswith(("initlab.", "mlflow."))}
