"""Progress display of a running study: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from statistics import fmean
from typing import Any, TextIO

from initlab.core.text import format_number, to_one_line
from initlab.study.results.leaderboard import Row, scores, standings, table
from initlab.study.search.arms import ENDED, ArmResult, counts
from initlab.study.space.objectives import Directions, Metrics, each

#: lines of the terminal that are not rows: text above the table, its heading, "… more", and the prompt
_FRAME = 5

_COLOUR = {"complete": "", "running": "cyan", "waiting": "dim", "pruned": "yellow", "failed": "red"}


class LiveTable:
    """Displays the state of a study; redrawn at every `update`.

    On a terminal (`err`): a table, which `close` removes, and one permanent line for every failed arm. Elsewhere: one
    line on `out` for every arm that ended, and from time to time a line with the progress.

    Args:
        total: arms of the study.
        metric: of the objective, or of each of several.
        direction: of the objective, or of each.
        out: stream for lines.
        err: stream for the table.
        workers: number of workers that share the remaining arms.
        before: trial numbers of arms that had ended before: they count, and are not reported again.
    """

    def __init__(
        self,
        *,
        total: int,
        metric: Metrics,
        direction: Directions,
        out: TextIO,
        err: TextIO,
        workers: int = 1,
        before: Collection[int] = (),
    ) -> None:
        self._total = total
        self._metric: Metrics = metric
        self._direction: Directions = direction
        self._out, self._err = out, err
        self._workers = max(workers, 1)
        self._before = frozenset(before)
        self._told: set[tuple[int, str]] = set()
        self._live: Any = None
        self._closed = False
        self._next_count = self._every

    def update(self, arms: Sequence[ArmResult]) -> None:
        """Show the current state of the arms. May be called at any rate: nothing is reported twice."""
        if self._closed:
            return
        ended = [a for a in arms if a.state in ENDED]
        fresh = [a for a in ended if a.trial not in self._before and (a.trial, a.state) not in self._told]
        fresh.sort(key=lambda a: a.trial)
        self._told.update((a.trial, a.state) for a in fresh)
        if self._err.isatty():
            self._draw(arms, [a for a in fresh if a.state == "failed"])
            return
        total = max(self._total, len(arms))
        for i, arm in enumerate(fresh, start=len(ended) - len(fresh) + 1):
            self._say(f"{i}/{total} {format_arm(arm, metric=self._metric)}")
        if fresh and self._next_count <= len(ended) < total:
            self._next_count = (len(ended) // self._every + 1) * self._every
            for line in self.heading(arms):
                self._say(line)

    def heading(self, arms: Sequence[ArmResult]) -> list[str]:
        """Progress and estimated remaining time, and the best arm so far."""
        ended, total = sum(a.state in ENDED for a in arms), max(self._total, len(arms))
        left = estimate_remaining(arms, total=total, workers=self._workers)
        # the time comes before the counts: a narrow terminal cuts off the end of a line
        about = f", about {format_duration(left)} left" if left is not None and ended < total else ""
        lines = [f"{ended} of {total} arms ended{about}{f': {counts(arms)}' if arms else ''}"]
        first = [r for r in standings(arms, direction=self._direction) if r.rank == 1]
        if first:
            front = f"{len(first)} on the front, with " if first[0].others else "best so far "
            lines.append(f"{front}{first[0].result.name}: {scores(first[0], self._metric)}")
        return lines

    def close(self) -> None:
        """Remove the table from the terminal, however the study ended. May be called again."""
        self._closed = True
        if self._live is not None:
            self._live.stop()
            self._live = None

    @property
    def _every(self) -> int:
        """Number of ended arms between two progress lines."""
        return max(5, self._total // 10)

    def _draw(self, arms: Sequence[ArmResult], failed: Sequence[ArmResult]) -> None:
        from rich.text import Text

        if self._live is None:
            self._live = _live(self._err)
            self._live.start()
        console = self._live.console
        for arm in failed:
            # Text, not str: a bracket in an error message must not be parsed as markup
            console.print(Text(format_arm(arm, metric=self._metric), style=_COLOUR["failed"]))
        rows = _select_rows(standings(arms, direction=self._direction), room=max(console.height - _FRAME, 1))
        # one cell is kept free: a line that ends in the last one wraps on some terminals
        width = max(console.width - 1, 1)
        text = Text("\n".join(self.heading(arms)), style="bold", no_wrap=True, overflow="ellipsis")
        limit = max(console.height - _FRAME, 1)
        lines = table(rows, metric=self._metric, width=width, limit=limit).split("\n")
        text.append(f"\n{lines[0]}", style="not bold underline" if rows else "not bold")
        for i, line in enumerate(lines[1:]):
            colour = _COLOUR[rows[i].result.state] if i < min(limit, len(rows)) else "dim"
            best = i < len(rows) and rows[i].rank == 1
            text.append(f"\n{line}", style=f"not bold {'green' if best else colour}".strip())
        self._live.update(text, refresh=True)

    def _say(self, line: str) -> None:
        # a character that the encoding of the stream lacks must not end a study
        encoding = self._out.encoding or "utf-8"
        with suppress(BrokenPipeError):
            print(line.encode(encoding, "replace").decode(encoding), file=self._out, flush=True)


def format_arm(arm: ArmResult, *, metric: Metrics) -> str:
    """One arm that ended, in one line: ``init=he activation=tanh: val/accuracy 0.8700 (3 seeds), 12 s``."""
    took = f", {format_duration(arm.seconds)}" if arm.seconds > 0 else ""
    if arm.state != "complete":
        why = f": {to_one_line(arm.reason)}" if to_one_line(arm.reason) else ""
        return f"{arm.name}: {arm.state}{why}{took}"
    if arm.finite is None:
        return f"{arm.name}: {arm.state} without a finite {' or '.join(each(metric))}{took}"
    (row,) = standings([arm.judged_by(0)], direction="maximize")
    values = arm.values or (arm.finite,)
    known = ", ".join(f"{m} {format_number(v)}" for m, v in zip(each(metric), values, strict=True))
    note = f"; {row.note}" if row.note else ""
    return f"{arm.name}: {known}{_seeds(row)}{took}{note}"


def estimate_remaining(arms: Sequence[ArmResult], *, total: int, workers: int) -> float | None:
    """Estimated seconds until all `total` arms have ended, from the mean time of the arms that ended by themselves.

    The elapsed time of running arms is subtracted. None where nothing has ended yet; failed arms do not count for
    the mean.
    """
    times = [a.seconds for a in arms if a.state in ("complete", "pruned") and a.seconds > 0]
    if not times:
        return None
    each = fmean(times)
    ended = sum(a.state in ENDED for a in arms)
    running = [max(each - a.seconds, 0.0) for a in arms if a.state == "running"]
    left = max(total - ended, 0)
    work = sum(running) + each * max(left - len(running), 0)
    # at least as long as the slowest running arm needs
    return max(work / max(min(workers, left), 1), max(running, default=0.0))


def format_duration(seconds: float) -> str:
    """Format seconds with a readable unit."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 119.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7170 else f"{seconds / 3600:.1f} h"


# ------------------------------------------------------------------ pieces
def _seeds(row: Row) -> str:
    return f" ({row.seeds} seed{'' if row.seeds == 1 else 's'})" if row.seeds else ""


def _select_rows(rows: Sequence[Row], *, room: int) -> list[Row]:
    """The best arms, then running ones, then the rest: the first two groups must be visible in a short table."""
    running = [r for r in rows if r.result.state == "running"]
    best = [r for r in rows if r.rank is not None]
    cut = max(room - len(running), min(3, room))
    late = {"running": 0, "complete": 1, "pruned": 2, "failed": 3, "waiting": 4}
    rest = [*best[cut:], *(r for r in rows if r.rank is None and r.result.state != "running")]
    return [*best[:cut], *running, *sorted(rest, key=lambda r: late[r.result.state])]


def _live(stream: TextIO) -> Any:
    from rich.console import Console
    from rich.live import Live

    # redrawn only by the caller's updates: no thread, and nothing that keeps the process of a stopped study alive
    return Live(console=Console(file=stream), auto_refresh=False, transient=True, vertical_overflow="crop")
