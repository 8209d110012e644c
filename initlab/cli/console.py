"""Terminal output of a run: a progress bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from initlab.core.error_line import print_notice
from initlab.report.note import SCORES, command, format_outlook, format_result, replace_overrides, shell_line
from initlab.spec import Experiment, Record, RunResult

if TYPE_CHECKING:
    from initlab.run.prepare import Prepared

_MARK = {"ok": "+", "note": "·", "warning": "!", "failure": "x"}
_COLOUR = {"ok": "32", "note": "2", "warning": "33", "failure": "31"}

#: notes of the initialiser that are printed; all of them are in sites.json
_NOTES = 6


class Console:
    """The narrator of the command line. Progress goes to stderr, results to stdout."""

    def __init__(self, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._err = err or sys.stderr
        self._bar: Any = None
        self._task: Any = None
        self._epoch: dict[str, float] = {}
        #: of the run that trains, where it is recorded
        self._run_id = ""

    def started(self, experiment: Experiment, prepared: Prepared, run_id: str, folder: Path | None) -> None:
        self._run_id = run_id if experiment.tracking.enabled else ""
        splits = prepared.splits
        self._say(
            f"{experiment.name}: {splits.provenance.name} {len(splits.train)}/{len(splits.val)}/{len(splits.test)}"
            f" (train/val/test), {prepared.parameters:,} parameters, {prepared.device}, arm {experiment.arm}"
        )
        for sentence_ in (*splits.notes, *prepared.initialised.notes[:_NOTES]):
            self._say(f"  {sentence_}")
        for line in doubtful_settings(experiment, prepared):
            print_notice(line)
        if folder is not None:
            self._say(f"records go to {_short(folder)} first, and from there to the store")
        if self._err.isatty():
            self._bar = _progress_bar(self._err)
            self._bar.start()

    def record(self, record: Record, total: int) -> None:
        metrics = record.metrics
        self._epoch.update(metrics)
        if self._bar is not None:
            if self._task is None:
                self._task = self._bar.add_task("training", total=total, text="")
            self._bar.update(
                self._task, completed=record.step, total=max(total, record.step), text=_scores(self._epoch)
            )
        if any(k.startswith("val/") for k in metrics):
            self._say(f"epoch {round(record.epoch)} (update {record.step}): {_scores(self._epoch)}")

    def finished(self, experiment: Experiment, result: RunResult, uri: str) -> None:
        self.close()
        self._say(f"{experiment.name} {format_result(result)}")
        if result.outlook is not None:
            self._say(f"predicted: {format_outlook(result.outlook)}")
        shown: set[tuple[str, ...]] = set()
        for finding in result.findings:
            self._say(f"{self._mark(finding.severity)} {finding.name}: {finding.evidence}")
            fresh = [r for r in finding.remedies if r.overrides not in shown]
            shown.update(r.overrides for r in fresh)
            for remedy in fresh:
                self._say(f"    try {' '.join(remedy.overrides)}  ({remedy.why})")
        if result.tracking_note:
            self._say(result.tracking_note)
        elif experiment.tracking.enabled:
            page = f"python -m initlab report run={result.run_id[:8]}"
            self._say(f"Run {result.run_id} is in {place(uri)}; its page: {page}")
            if result.link:
                self._say(f"In MLflow: {result.link}")
                if experiment.tracking.report:
                    self._say(f"   report: {result.link}/artifacts/report.html")
        self._say(f"Next: {_next(experiment, result)}")

    def interrupted(self) -> None:
        """Say how a run that was broken off goes on, and how its records arrive."""
        self.close()
        if not self._run_id:
            print_notice("interrupted at once; nothing of the run was recorded")
            return
        resume = f"python -m initlab resume={self._run_id}"
        print_notice(f"run {self._run_id} was interrupted at once: {resume} goes on with it from its last checkpoint")
        print_notice("records that did not arrive wait here: python -m initlab sync sends them")

    def close(self) -> None:
        """Remove the progress bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _mark(self, severity: str) -> str:
        mark = _MARK[severity]
        return f"\x1b[{_COLOUR[severity]}m{mark}\x1b[0m" if self._out.isatty() else mark

    def _say(self, line: str) -> None:
        """Print a line; above the progress bar where one is shown."""
        if self._bar is not None and self._out.isatty():
            self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            print(line, file=self._out, flush=True)


def _progress_bar(stream: TextIO) -> Any:
    from rich.console import Console as RichConsole
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[text]}"),
        console=RichConsole(file=stream),
        transient=True,
    )


def _scores(metrics: dict[str, float]) -> str:
    shown = [("train loss", "train/loss"), ("val loss", "val/loss")]
    best = next((k for k in SCORES if k != "loss" and f"val/{k}" in metrics), None)
    if best is not None:
        shown.append((f"val {SCORES[best]}", f"val/{best}"))
    return ", ".join(f"{label} {metrics[key]:.4f}" for label, key in shown if key in metrics)


def doubtful_settings(experiment: Experiment, prepared: Prepared) -> list[str]:
    """Sentences about settings that are possible and mean little with this data."""
    splits, trainer = prepared.splits, experiment.trainer
    found: list[str] = []
    examples = len(splits.train)
    if splits.io.vocabulary is None and trainer.batch_size > examples:
        found.append(
            f"trainer.batch_size={trainer.batch_size}: is larger than the {examples} training examples: every epoch is"
            f" one update; write trainer.batch_size={_power_of_two(examples // 10)} or less"
        )
    if len(splits.val) > examples:
        found.append(
            f"data: {len(splits.val)} examples are held out for validation, and {examples} are left to train on"
            " (data.val_fraction)"
        )
    return found


def _power_of_two(number: int) -> int:
    return 2 ** max(0, number.bit_length() - 1)


def place(uri: str) -> str:
    """Address of a store, with the command that opens it where it is on this machine."""
    if uri.startswith("sqlite:"):
        return f"{uri} (python -m initlab ui)"
    return uri


def _next(experiment: Experiment, result: RunResult) -> str:
    """The next command: resume, apply a remedy, or learn more by several seeds of two initialisations."""
    if result.status == "killed":
        return f"python -m initlab resume={result.run_id}"
    for finding in result.findings:
        if finding.severity in ("failure", "warning") and finding.remedies:
            return command(experiment, *finding.remedies[0].overrides)
    init = str(experiment.params.get("init"))
    other = "xavier" if init == "he" else "he"
    if experiment.trainer.ddp or not init.isidentifier() or any(o.startswith("init.") for o in experiment.overrides):
        # a study trains in one process, and has no values of one initialiser in the arms of another
        return command(experiment, f"init={other}") + "   (the same batches, another initialisation)"
    study = replace_overrides(experiment.overrides, (f"init={init},{other}", "replicas=5"))
    return shell_line(study, "python -m initlab -m") + "   (a study: two initialisations, five seeds each)"


def next_line(experiment: Experiment, *overrides: str, drop: tuple[str, ...] = ()) -> str:
    """The command that trains what was inspected."""
    kept = tuple(o for o in experiment.overrides if not o.startswith(drop)) if drop else experiment.overrides
    return command(replace(experiment, overrides=kept), *overrides)


def _short(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
