"""`python -m initlab compare`: compares the arms of a study, or any runs, with intervals and significance tests."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from initlab import config as configuration
from initlab import tracking
from initlab.cli.compare_json import as_fields
from initlab.cli.folders import check_writable
from initlab.cli.json_output import is_asked, print_json
from initlab.compare import arms as of_arms
from initlab.compare.comparison import compare, over_tasks
from initlab.compare.metric import Metric, choose_metric, study_metric
from initlab.compare.page import format_counts, label_lines
from initlab.compare.page import over_tasks as in_words
from initlab.compare.result import Comparison, NothingToCompareError, Report
from initlab.compare.table import answer_lines, caption_of, columns, fit_columns, text
from initlab.errors import ConfigError, one_of
from initlab.spec import CompareSettings

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from initlab.cli.arguments import Arguments
    from initlab.compare.table import Column
    from initlab.tracking import Curve, Found, RunRecord

#: arms whose curves are drawn and measured; of very many runs they would be most of the time
_CURVES = 20_000


def compare_command(config: DictConfig, arguments: Arguments) -> int:
    """Compare what `config` says. Returns 0 also where no arm is distinguishable from another.

    Raises:
        InitlabError: with exit code 2 where there is nothing that could be compared.
    """
    as_json = is_asked(arguments)
    settings = configuration.compare_settings(config)
    where = configuration.tracking_settings(config)
    if settings.out is not None:
        check_writable("out", Path(settings.out))
    settings = replace(settings, study=tracking.find_studies(settings.study, where, workdir=Path.cwd()))
    found = tracking.read_runs(
        where, workdir=Path.cwd(), studies=settings.study, experiments=settings.experiments, words=settings.filter or ""
    )
    runs, parents, title = choose_runs(found, settings)
    report = report_of(found, runs, parents, settings, title)
    if as_json:
        print_json("compare", as_fields(report))
    else:
        _show(report, settings)
    _keep(report, found, parents, settings, say=not as_json)
    if not as_json:
        print(f"Next: {_next(report, parents, settings)}")
    return 0


def choose_runs(found: Found, settings: CompareSettings) -> tuple[list[RunRecord], list[RunRecord], str]:
    """The runs that are compared, the studies' own runs, and a title.

    Raises:
        ConfigError: for a study that does not exist or has no runs, and where nothing says which of several is meant.
        NothingToCompareError: in a store without runs.
    """
    known = found.studies
    for name in settings.study:
        if name not in known:
            there = one_of(known, name) if known else "the store has no study yet: python -m initlab -m init=he,xavier"
            raise ConfigError("study", name, f"no such study; {there}")
    studies = list(settings.study)
    if not studies and not settings.filter and not settings.experiments:
        if len(known) > 1:
            raise ConfigError("study", None, f"say which: study=NAME of {', '.join(known)}, or a filter=")
        studies = list(known)
    runs = [r for r in found.runs if not studies or r.tags.get("initlab.study") in studies]
    title = ", ".join(studies) or settings.filter or ", ".join(settings.experiments) or "all runs"
    if settings.filter and studies:
        title = f"{title} where {settings.filter}"
    if not runs:
        of = f"study {', '.join(studies)}" if studies else "the store"
        which = " that fits the filter" if settings.filter else " yet"
        raise NothingToCompareError(f"{of} has no run{which}: there is nothing to compare")
    return runs, [found.parents[s] for s in studies if s in found.parents], title


def report_of(
    found: Found, runs: Sequence[RunRecord], parents: Sequence[RunRecord], settings: CompareSettings, title: str
) -> Report:
    raws = of_arms.by_task(runs, [*settings.keys, *of_arms.searched(parents)] if settings.keys else [])
    keys = of_arms.compared(raws, settings, parents)
    names = of_arms.names(raws, keys)
    tuned = {p.params.get("tune_lr") == "true" for p in parents}
    warnings = of_arms.differences(raws, keys, tuned=True in tuned)
    if len(tuned) > 1:
        warnings.append("arms were not tuned equally: some studies gave each arm its own learning rate, others did not")
    metric, direction = study_metric(found, parents, workdir=Path.cwd())
    several = len(raws) > 1
    if several:
        warnings.append(f"{len(raws)} tasks: each is judged by itself, then arms are ranked over tasks")
    tasks: list[Comparison] = []
    for raw in raws:
        own = [r for seeds in raw.arms.values() for r in seeds.values()]
        of_study = metric if any(metric in r.metrics for r in own) or not several else ""
        by = choose_metric(own, settings, metric=of_study, direction=direction)
        curves, why = _curves(found, own, by, settings)
        if why:
            warnings.append(f"without learning curves, and so without time to target and area: {why}")
        label = raw.label if several else ""
        tasks.append(compare(raw, by, names, curves, settings, keys=keys, label=label))
    ranking, told = over_tasks(tasks) if several else (None, [])
    return Report(title=title, tasks=tuple(tasks), ranking=ranking, warnings=(*dict.fromkeys([*warnings, *told]),))


def _curves(
    found: Found, runs: Sequence[RunRecord], by: Metric, settings: CompareSettings
) -> tuple[Mapping[str, Curve], str]:
    if not settings.curves or not by.curve:
        return {}, ""
    if len(runs) > _CURVES:
        return {}, f"more than {_CURVES} runs"
    return tracking.read_curves(found, runs, by.curve, workdir=Path.cwd())


# ------------------------------------------------------------------ showing and keeping
def _show(report: Report, settings: CompareSettings) -> None:
    width = shutil.get_terminal_size((110, 24)).columns if sys.stdout.isatty() else 160
    print(f"{report.title}: {format_counts(report)}")
    for task in report.tasks:
        if task.label:
            print(f"\n{task.label}")
        shown = fit_columns(columns(task, task.rows[: settings.rows]), width)
        _print_table(shown, task, settings.rows)
        if len(task.rows) > settings.rows:
            print(f"… {len(task.rows) - settings.rows} more (compare.rows, compare.out)")
        for line in (*caption_of(task), *task.notes):
            print(f"  {line}")
        for line in answer_lines(task):
            print(f"+ {line}")
    for line in in_words(report):
        print(f"+ {line}")
    for line in (*report.warnings, *(w for t in report.tasks for w in label_lines(t, t.warnings))):
        print(f"! {line}")


def _print_table(shown: Sequence[Column], task: Comparison, rows: int) -> None:
    if not sys.stdout.isatty():
        print(text(shown))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in shown:
        table.add_column(column.heading, justify="right" if column.numbers else "left", no_wrap=True)
    for i, row in enumerate(task.rows[:rows]):
        style = "green" if row.winner else "dim" if row.rank is None else ""
        table.add_row(*(Text(c.cells[i]) for c in shown), style=style)
    Console().print(table)


def _next(report: Report, parents: Sequence[RunRecord], settings: CompareSettings) -> str:
    """What follows a comparison: the files of it, or why the arms rank as they do."""
    studies = [p.tags.get("initlab.study", "") for p in parents]
    if len(studies) == 1 and settings.out is not None:
        return f"python -m initlab explain study={studies[0]}   (why they rank so)"
    if len(studies) == 1:
        return f"python -m initlab compare study={studies[0]} out=comparison   (table, figures and a page as files)"
    best = next((r for t in report.tasks for r in t.rows if r.rank == 1), None)
    if best is not None and best.arm.runs:
        return f"python -m initlab explain run={next(iter(best.arm.runs.values())).run_id}   (a run of the best arm)"
    return "python -m initlab list"


def _keep(report: Report, found: Found, parents: Sequence[RunRecord], settings: CompareSettings, *, say: bool) -> None:
    """Files where they were asked for, and with the study's own run."""
    log = settings.log and len(parents) == 1 and not settings.filter
    if settings.out is None and not log:
        return
    from initlab.compare.write import write

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) if settings.out is None else Path(settings.out)
        try:
            files = write(report, folder)
        except OSError as error:
            raise ConfigError("compare.out", settings.out, f"cannot be written to ({error.strerror})") from error
        if settings.out is not None and say:
            print(f"table, figures and page are in {folder}: open {folder / 'comparison.html'}")
        if log:
            why = tracking.keep_files(found, parents[0].run_id, files, "compare", workdir=Path.cwd())
            said = f"not kept with the study's run: {why}" if why else f"kept under compare/ of run {parents[0].run_id}"
            if say:
                print(said)
