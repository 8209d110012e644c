"""Runs a study (`-m`): trains every arm of a search space under several seeds; resumes where a study stopped."""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from initlab import config as configuration
from initlab import tracking
from initlab.config.overrides import quote_word
from initlab.config.searchpath import as_override, typed_searchpath
from initlab.core.error_line import print_error, print_notice
from initlab.core.signals import stop_gently
from initlab.errors import ConfigError, InitlabError
from initlab.spec import RunStatus, TrackingSettings
from initlab.study.results.live import LiveTable
from initlab.study.results.outcome import outcome_of
from initlab.study.results.parent import ParentRun, has_ended, open_parent, take_over
from initlab.study.results.terminal import print_report, print_start
from initlab.study.search import tune
from initlab.study.search.arms import ENDED, ArmResult
from initlab.study.search.dashboard import save_note
from initlab.study.search.enqueue import enqueue_missing
from initlab.study.search.lead import Lead
from initlab.study.search.trials import arm_results, current_trials, recorded_runs
from initlab.study.setup import open_study, space_of
from initlab.study.space.grammar import strip_sign
from initlab.study.space.plan import Plan
from initlab.study.space.space import Space
from initlab.study.workers import engine

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from optuna import Study

#: seconds that others have to send what they recorded
_PATIENCE = 30.0


def study_command(config: DictConfig, arguments: Sequence[str], *, params: Mapping[str, str]) -> int:
    """Search what `arguments`, `params` and `study.space` span.

    Returns the exit code: 0 where every arm has an end, 1 where one raised an error or the study was stopped, 2 for bad
    input, of which nothing is begun.
    """
    try:
        return _search(config, list(arguments), params)
    except KeyboardInterrupt:
        print_notice(
            "interrupted at once; the same command goes on with the study, and python -m initlab sync sends the records"
            " that wait"
        )
        raise
    except BrokenPipeError:
        raise  # the reader of our output has gone, and with it whoever could be told
    except InitlabError as error:
        return print_error(error, error.exit_code)
    except Exception as error:
        from initlab.config.hydra_errors import translate

        ours = translate(error, list(arguments))
        return print_error(ours or error, ours.exit_code if ours else 1, cause=error)


def _search(config: DictConfig, arguments: list[str], params: Mapping[str, str]) -> int:
    settings = configuration.study_settings(config)
    space = space_of(settings, arguments, params)
    if not space.dimensions:
        raise ConfigError("-m", None, "nothing is swept: give a key several values, such as init=he,xavier")
    places = typed_searchpath()
    # printed as the command with which it goes on
    shown = [*arguments, *([as_override(places)] if places else [])]
    tune.check(settings, [strip_sign(d.key) for d in space.dimensions])
    space = _with_experiment(config, space)
    plan, study, track = open_study(config, settings, space)
    fresh = enqueue_missing(study, plan)
    print_start(plan, study, fresh)
    asked = threading.Event()
    stop_gently(asked, "the workers end after the update at hand")
    to_do = bool(fresh) or plan.endless or any(a.state in ("waiting", "running") for a in arm_results(study))
    if not to_do and has_ended(plan):
        left = _deliver_rest(plan, study, track) if tracking.spools(plan.workdir) else 0
        print_report(plan, study, outcome_of(plan, study), (), interrupted=False, arguments=shown, left=left)
        return _exit_code(plan, study, interrupted=False)
    lead = Lead(study, plan.folder)
    parent = open_parent(plan, track, study, lead)
    plan = replace(plan, parent=parent.uid)
    if parent.leads:
        plan.save()
    else:
        print_notice("another process leads this study and records its run; this one trains arms of it")
    status: RunStatus = "failed"
    told: tuple[str, ...] = ()
    live = LiveTable(
        total=len(current_trials(study)), metric=plan.settings.metric, direction=plan.direction, out=sys.stdout,
        err=sys.stderr, workers=plan.settings.workers,
        before=[a.trial for a in arm_results(study) if a.state in ENDED],
    )  # fmt: skip
    threading.Thread(target=_load_plotting, daemon=True).start()
    try:
        try:
            if to_do:  # else a former leader died after the last arm, and before the end of its own run
                told = engine.drive(study, plan, stop=asked.is_set, look=lambda arms: _update(live, parent, plan, arms))
            status = "killed" if asked.is_set() else "finished"
        finally:
            live.close()
            made = outcome_of(plan, study)
            if not parent.leads and status == "finished":
                parent = take_over(plan, track, study, lead) or parent
            note = ""
            if parent.leads:
                note = parent.close(plan, study, made, status=status)
                plan = replace(plan, parent=parent.run_id)
                plan.save()
                save_note(study, f"{made.summary}\n\n{made.importance}\n\nMLflow run: {plan.parent or 'none'}")
            left = _deliver_rest(plan, study, track)
        print_report(plan, study, made, told, interrupted=asked.is_set(), arguments=shown, note=note, left=left)
    finally:
        lead.end(status)  # the last of all: until then `gc` sees a study that is worked on
    return _exit_code(plan, study, interrupted=asked.is_set())


# ------------------------------------------------------------------ pieces
def _with_experiment(config: DictConfig, space: Space) -> Space:
    """The space with the experiment that the environment names: workers elsewhere record there too."""
    where, origin = tracking.resolve_experiment(configuration.tracking_settings(config), workdir=Path.cwd())
    if not origin or where.experiment is None:
        return space
    print_notice(f"tracking: {origin}")
    return replace(space, fixed=(*space.fixed, f"tracking.experiment={quote_word(where.experiment)}"))


def _load_plotting() -> None:
    """Import the plotting libraries that the end of the study needs, while its workers train."""
    for name in ("scipy.stats", "optuna.importance"):
        with suppress(ImportError):
            importlib.import_module(name)


def _update(live: LiveTable, parent: ParentRun, plan: Plan, arms: Sequence[ArmResult]) -> None:
    live.update(arms)
    parent.look(plan, arms)


def _deliver_rest(plan: Plan, study: Study, track: TrackingSettings) -> int:
    """Send the records that workers left, and end the runs of workers that died. Returns how many runs still wait."""
    if track.offline:
        return len(tracking.spools(plan.workdir))
    # workers that outlived a former leader may be at it still
    tracking.wait_for_senders(plan.workdir, study=plan.name, seconds=_PATIENCE)
    left = tracking.sync(plan.workdir, track).waiting
    # an arm whose worker was taken for dead by mistake may have been trained twice
    tracking.copy_inputs(track, workdir=plan.workdir, study=plan.name, parent=plan.parent)
    tracking.end_duplicates(track, workdir=plan.workdir, study=plan.name, kept=recorded_runs(study))
    return left


def _exit_code(plan: Plan, study: Study, *, interrupted: bool) -> int:
    states = {a.state for a in arm_results(study)}
    # where time was limited, arms may be left
    left = plan.seconds is None and bool(states & {"waiting", "running"})
    return 1 if interrupted or left or "failed" in states else 0
