"""Prints a study to the terminal: its settings at the start, its leaderboard and the next command at the end."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING

from initlab.core.redact import redact_passwords
from initlab.report.note import shell_line
from initlab.study.results import leaderboard, robustness
from initlab.study.results.live import format_duration
from initlab.study.results.outcome import Outcome
from initlab.study.search import tune
from initlab.study.search.samplers import notes
from initlab.study.search.trials import arm_results, doomed_values
from initlab.study.space.plan import Plan

if TYPE_CHECKING:
    from optuna import Study


def print_start(plan: Plan, study: Study, fresh: int) -> None:
    """Print the number of arms, seeds and workers, the metric, and the sampler's limits."""
    arms = arm_results(study)
    ended = sum(a.state in ("complete", "pruned", "failed") for a in arms)
    new = f"as many as {format_duration(plan.settings.timeout or 0.0)} take" if plan.endless else f"{fresh} new"
    print(
        f"study {plan.name}: {len(arms)} arms x {plan.replicas} seeds, {ended} done before, {new};"
        f" {', '.join(plan.metrics)}, {', '.join(plan.directions)}; {plan.settings.workers} worker(s)",
        flush=True,
    )
    if plan.settings.tune_lr:
        count = len(set(plan.settings.lr_factors))
        print(f"  each arm first finds its learning rate: {count} to {count + tune.EXTENSIONS} runs more")
    for note in notes(plan.settings.sampler, plan.space):
        print(f"  {note}")


def print_report(
    plan: Plan,
    study: Study,
    made: Outcome,
    told: Sequence[str],
    *,
    interrupted: bool,
    arguments: Sequence[str],
    note: str = "",
    left: int = 0,
) -> None:
    """Print the leaderboard, the importance of keys, and the command to type next."""
    for line in told:
        print(line)
    print(leaderboard.table(made.rows, metric=plan.settings.metric, width=_width()))
    print(made.summary)
    print(made.importance)
    for line in robustness.lines(made.arms, plan.direction):
        print(line)
    spared = doomed_values(study)
    if spared:
        best = (max if plan.maximises else min)(value for _, value in spared)
        print(f"{len(spared)} arms that were called doomed ran on; the best of them reached {best:.4g}")
    if plan.parent:
        print(f"Study {plan.name} is run {plan.parent} (python -m initlab ui)")
        print(f"its page: python -m initlab report study={plan.name}")
    if interrupted:
        again = shell_line(list(map(redact_passwords, arguments)), "python -m initlab -m")
        print(f"Next: {again}   (goes on where it stopped)")
    elif plan.parent and sum(a.value is not None for a in made.arms) > 1:
        print(f"Next: python -m initlab compare study={plan.name}   (p-values, effects, figures, seeds needed)")
    if note:
        print(note)
    if left:
        print(f"tracking: {left} runs wait in .initlab/spool; python -m initlab sync sends them")


def _width() -> int:
    return shutil.get_terminal_size((110, 24)).columns
