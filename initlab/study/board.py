"""The leaderboard of a study: arms in order, with intervals over seeds, as rows, as plain text and in one line."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any, Literal

from initlab.spec import RunStatus
from initlab.study.objectives import Directions, Metrics, each, fronts
from initlab.study.tune import Sweep

ArmState = Literal["waiting", "running", "complete", "pruned", "failed"]

#: states in the order of the table, behind the arms that have a rank
_ORDER: tuple[ArmState, ...] = ("complete", "running", "waiting", "pruned", "failed")

#: an arm that ended, however it ended
ENDED: frozenset[ArmState] = frozenset({"complete", "pruned", "failed"})

_GAP = "  "


@dataclass(frozen=True, kw_only=True)
class Replica:
    """One seed of an arm.

    `value` is None where it did not come to one; `values` are those of each metric in a study with several, and `value`
    is then the first of them.
    """

    seed: int
    value: float | None
    status: RunStatus
    run_id: str = ""
    values: tuple[float, ...] = ()

    @staticmethod
    def from_json(plain: Mapping[str, Any]) -> Replica:
        """The replica whose fields went through JSON, which has lists alone."""
        made = Replica(**plain)
        return replace(made, values=tuple(made.values))


@dataclass(frozen=True, kw_only=True)
class ArmResult:
    """What is known of one arm.

    Attributes:
        trial: Optuna's number.
        arm: hash of the configuration without its seed.
        choices: swept key → text of its value; a conditional key is absent where it has no meaning.
        state: where it stands.
        value: the objective, None where there is none; of several the first.
        values: all objectives, where there are several.
        replicas: its seeds.
        reason: why it was pruned or failed.
        seconds: that it has taken.
        sweep: of its learning rate, in a study that tunes it.
    """

    trial: int
    arm: str
    choices: Mapping[str, str]
    state: ArmState
    value: float | None
    replicas: tuple[Replica, ...] = ()
    reason: str = ""
    seconds: float = 0.0
    values: tuple[float, ...] = ()
    sweep: Sweep | None = None

    @property
    def finite(self) -> float | None:
        """The objective where it is a number that can be compared; of several the first, where all can."""
        if self.value is None or not all(map(math.isfinite, (self.value, *self.values))):
            return None
        return self.value

    @property
    def name(self) -> str:
        """The arm in words: its choices, and its hash where nothing was swept."""
        return plain(" ".join(f"{k}={v}" for k, v in self.choices.items())) or f"arm {self.arm}"

    def by_seed(self) -> dict[int, float]:
        """Seed → value, of the seeds that came to a finite one."""
        return {r.seed: r.value for r in self.replicas if r.value is not None and math.isfinite(r.value)}

    def judged_by(self, which: int) -> ArmResult:
        """The same arm as in a study of its objective number `which` alone."""
        if not self.values and not any(r.values for r in self.replicas):
            return self
        replicas = tuple(replace(r, value=r.values[which] if r.values else None, values=()) for r in self.replicas)
        return replace(self, value=self.values[which] if self.values else None, values=(), replicas=replicas)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the leaderboard.

    Attributes:
        result: the arm.
        rank: 1 for the best; None for an arm that is not complete or has no finite objective. With several objectives
            1 for all of the front, the arms that no other is better than in everything; 2 for those that only the
            front is better than, and so on.
        mean: over seeds with a value, else the objective; NaN where there is neither. Of several objectives the first,
            as all that follows.
        low: lower end of the mean's 95 % Student interval over seeds; NaN for fewer than two.
        high: its upper end.
        seeds: with a value.
        tied: whether the 95 % interval of the paired difference to the best arm, over common seeds, includes 0. True
            for the best itself; None for arms without rank and where fewer than two seeds are common. One comparison
            at a time: nothing is corrected for how many arms there are. None with several objectives.
        others: the same row for each further objective.
        note: why it was pruned or failed, and which seeds came to no good end.
    """

    result: ArmResult
    rank: int | None
    mean: float
    low: float = math.nan
    high: float = math.nan
    seeds: int = 0
    tied: bool | None = None
    others: tuple[Row, ...] = ()
    note: str = ""

    @property
    def half(self) -> float:
        """Half the width of the interval."""
        return (self.high - self.low) / 2


def leaderboard(arms: Sequence[ArmResult], *, direction: Directions) -> list[Row]:
    """Best objective first, the lower trial number first among equals; then running, waiting, pruned and failed arms.

    The order is that of the objective, which need not be the mean. With several objectives it is front by front, and
    by the first of them within a front. Source: Student, 1908; pairs over common seeds take out what the seeds share.
    """
    ordered, ranks = _sorted(arms, direction)
    several = len(each(direction)) > 1
    best = ordered[0].by_seed() if ranks and not several else {}
    rows: list[Row] = []
    for i, arm in enumerate(ordered):
        row = _row(arm.judged_by(0), ranks[i] if i < len(ranks) else None, best=best, first=i == 0)
        others = [_row(arm.judged_by(k), None, best={}, first=False) for k in range(1, len(each(direction)))]
        rows.append(replace(row, result=arm, others=tuple(others), tied=None if several else row.tied, note=_note(arm)))
    return rows


def _row(arm: ArmResult, rank: int | None, *, best: Mapping[int, float], first: bool) -> Row:
    # initlab.episodes brings torch, whose import a table of three waiting arms need not wait for
    from initlab.interval import interval

    values = arm.by_seed()
    found = interval(list(values.values())) if len(values) > 1 else None
    tied: bool | None = None
    if rank is not None and first:
        tied = True
    elif rank is not None:
        common = [values[s] - best[s] for s in values if s in best]
        if len(common) > 1:
            difference = interval(common)
            tied = difference.low <= 0 <= difference.high
    return Row(
        result=arm, rank=rank, mean=_mean(arm), low=found.low if found else math.nan,
        high=found.high if found else math.nan, seeds=len(values), tied=tied, note=_note(arm),
    )  # fmt: skip


def standings(arms: Sequence[ArmResult], *, direction: Directions) -> list[Row]:
    """The leaderboard without intervals: cheap enough to be drawn every second."""
    ordered, ranks = _sorted(arms, direction)

    def row(arm: ArmResult, rank: int | None) -> Row:
        return Row(result=arm, rank=rank, mean=_mean(arm), seeds=len(arm.by_seed()), note=_note(arm))

    return [
        replace(
            row(arm.judged_by(0), ranks[i] if i < len(ranks) else None), result=arm, note=_note(arm),
            others=tuple(row(arm.judged_by(k), None) for k in range(1, len(each(direction)))),
        )
        for i, arm in enumerate(ordered)
    ]  # fmt: skip


def table(rows: Sequence[Row], *, metric: Metrics, width: int, limit: int = 20) -> str:
    """Aligned plain text, no line wider than `width` cells of a terminal, the first `limit` rows.

    Every key that takes more than one value among all the rows has a column. Where the width is short, reasons and
    keys are shortened first, then what says least is left out; the number of the trial and the mean come first and
    stay longest.
    """
    if not rows:
        return _cut("no arm yet", width)
    shown, hidden = rows[:limit], rows[limit:]
    columns = _fitted(_columns(rows, shown, metric), width)
    lines = [[c.heading for c in columns], *([c.cells[i] for c in columns] for i in range(len(shown)))]
    text = [_cut(_GAP.join(map(_cell, line, columns)).rstrip(), width) for line in lines]
    if hidden:
        text.append(_cut(f"… {len(hidden)} more: {counts(r.result for r in hidden)}", width))
    return "\n".join(text)


def summary(arms: Sequence[ArmResult], *, metric: Metrics, direction: Directions) -> str:
    """The study in one line: how many arms in which state, the best one, and how many cannot be told from it.

    With several objectives: how many arms are on the front, and that which is best in the first of them.
    """
    many = f"{len(arms)} arm{'' if len(arms) == 1 else 's'}"
    if not arms:
        return many
    rows = leaderboard(arms, direction=direction)
    best, head = rows[0], f"{many}: {counts(arms)}"
    if best.rank is None:
        return f"{head}; none came to a result"
    choices = plain(", ".join(f"{k}={v}" for k, v in best.result.choices.items())) or best.result.name
    if best.others:
        front = sum(r.rank == 1 for r in rows)
        with_first = f", best in {each(metric)[0]}" if front > 1 else ""
        return f"{head}; {front} on the front{with_first}: {choices} with {scores(best, metric)}"
    ties = sum(r.tied is True for r in rows[1:])
    close = f"; {ties} more cannot be told from it" if ties else ""
    return f"{head}; best {choices} with {metric} {score(best)}{close}"


def counts(arms: Iterable[ArmResult]) -> str:
    """How many are in which state, such as ``15 complete, 2 pruned, 1 failed``."""
    found = Counter(a.state for a in arms)
    return ", ".join(f"{found[s]} {s}" for s in _ORDER if found[s])


def score(row: Row) -> str:
    """Mean, half the width of its interval where there is one, and the number of seeds where they are known."""
    return f"{_with_half(row)}{_seeds(row)}"


def scores(row: Row, metric: Metrics) -> str:
    """Every objective with its name."""
    told = (f"{m} {_with_half(r)}" for m, r in zip(each(metric), (row, *row.others), strict=True))
    return f"{', '.join(told)}{_seeds(row)}"


def _with_half(row: Row) -> str:
    return f"{number(row.mean)} ± {_half(row.half)}" if math.isfinite(row.half) else number(row.mean)


def _seeds(row: Row) -> str:
    return f" ({row.seeds} seed{'' if row.seeds == 1 else 's'})" if row.seeds else ""


def number(value: float) -> str:
    """Four decimals, or powers of ten where four decimals would say nothing; none of large counts; empty for NaN."""
    if math.isnan(value):
        return ""
    if 100 <= abs(value) < 1e9 and value == int(value):
        return str(int(value))
    return f"{value:.4f}" if value == 0 or 1e-2 <= abs(value) < 1e5 else f"{value:.3e}"


def varying(arms: Iterable[ArmResult]) -> list[str]:
    """The swept keys that take more than one value, in the order in which they first appear."""
    seen: dict[str, set[str]] = {}
    for arm in arms:
        for key, value in arm.choices.items():
            seen.setdefault(key, set()).add(value)
    return [key for key, values in seen.items() if len(values) > 1]


def plain(text: str) -> str:
    """The text on one line, without what would move a terminal's cursor."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


# ------------------------------------------------------------------ pieces
def _sorted(arms: Sequence[ArmResult], direction: Directions) -> tuple[list[ArmResult], list[int]]:
    """The arms in order, and the ranks of those that have one, which come first."""
    ways = each(direction)
    sign = -1.0 if ways[0] == "maximize" else 1.0
    # trial numbers begin with the lead in every comparison that the objective leaves open
    able = sorted(
        (sign * value, a.trial, i)
        for i, a in enumerate(arms)
        if a.state == "complete" and (value := a.finite) is not None
    )
    rest = sorted(
        (a for a in arms if a.state != "complete" or a.finite is None), key=lambda a: (_ORDER.index(a.state), a.trial)
    )
    ranked = [arms[i] for _, _, i in able]
    if len(ways) == 1:
        return [*ranked, *rest], list(range(1, len(ranked) + 1))
    found = fronts([a.values for a in ranked], ways)
    order = sorted(range(len(ranked)), key=found.__getitem__)  # keeps the order by the first within a front
    return [*(ranked[i] for i in order), *rest], [found[i] for i in order]


def _mean(arm: ArmResult) -> float:
    values = arm.by_seed()
    if values:
        return fmean(values.values())
    return math.nan if arm.finite is None else arm.finite


def _note(arm: ArmResult) -> str:
    """An arm whose mean is over fewer seeds than it was given says so: those that survive flatter it."""
    bad = Counter(r.status for r in arm.replicas if r.status not in ("finished", "stopped"))
    of = len(arm.replicas)
    told = [arm.reason] if arm.reason else []
    if arm.sweep is not None and arm.sweep.note and arm.sweep.note != arm.reason:
        told.append(arm.sweep.note)
    told += [f"{n} of {of} seed{'' if of == 1 else 's'} {status}" for status, n in bad.items()]
    if arm.state == "complete" and arm.finite is None:
        told.append("no finite objective")
    return plain("; ".join(told))


def _half(half: float) -> str:
    # four decimals, as the mean has, unless they would be all zero
    return f"{half:.4f}" if half == 0 or 5e-5 <= half < 1e5 else f"{half:.1e}"


@dataclass(kw_only=True)
class _Column:
    heading: str
    cells: list[str]
    right: bool = False
    #: whether a text that is too long keeps its end as well, as names do
    middle: bool = False
    #: widths that it may be narrowed to: before any column is left out, and after all were that can be
    least: tuple[int, int] | None = None
    #: the lower, the earlier it is left out; None where it stays
    drop: int | None = None
    width: int = 0

    def widest(self) -> int:
        from rich.cells import cell_len

        return max(map(cell_len, (self.heading, *self.cells)))


def _columns(rows: Sequence[Row], shown: Sequence[Row], metric: Metrics) -> list[_Column]:
    metrics = each(metric)
    columns = [_Column(heading="trial", cells=[str(r.result.trial) for r in shown], right=True)]
    if len(metrics) > 1:
        cells = ["" if r.rank is None else "1 front" if r.rank == 1 else str(r.rank) for r in shown]
        columns.append(_Column(heading="rank", cells=cells))
    for k, name in enumerate(metrics):
        columns += _scores(name, [(r, *r.others)[k] for r in shown], ranked=[r.rank is not None for r in shown])
    if any(r.seeds for r in shown):
        columns.append(_Column(heading="seeds", cells=[str(r.seeds or "") for r in shown], right=True, drop=0))
    if any(r.tied is not None and r.rank != 1 for r in shown):
        columns.append(_Column(heading="to best", cells=[_to_best(r) for r in shown], drop=1))
    if any(r.result.sweep for r in shown):
        columns.append(_Column(heading="lr", cells=[_chosen_lr(r.result.sweep) for r in shown], right=True))
    for key in varying(r.result for r in rows):
        cells = [plain(r.result.choices.get(key, "–")) for r in shown]
        columns.append(_Column(heading=plain(key), cells=cells, middle=True, least=(10, 3)))
    states = [f"{r.result.state}: {r.note}" if r.note else r.result.state for r in shown]
    columns.append(_Column(heading="state", cells=states, least=(18, 8)))
    return columns


def _chosen_lr(sweep: Sweep | None) -> str:
    return "" if sweep is None or sweep.chosen is None else f"{sweep.chosen:.3g}"


def _scores(metric: str, rows: Sequence[Row], *, ranked: Sequence[bool]) -> list[_Column]:
    """Columns of one metric."""
    means = [number(r.mean) for r in rows]
    digits = max(map(len, means))
    columns = [_Column(heading=plain(metric), cells=means, right=True, middle=True, least=(max(digits, 9), digits))]
    if any(math.isfinite(r.half) for r in rows):
        halves = [f"± {_half(r.half)}" if math.isfinite(r.half) else "" for r in rows]
        columns.append(_Column(heading="95 %", cells=halves, drop=3))
    if any(has and not _is_mean(r) for r, has in zip(rows, ranked, strict=True)):
        values = [number(r.result.finite) if r.result.finite is not None else "" for r in rows]
        columns.append(_Column(heading="objective", cells=values, right=True, drop=2))
    return columns


def _is_mean(row: Row) -> bool:
    """Whether the objective is the mean over seeds, which another hand may have summed in another order."""
    return row.result.finite is not None and math.isclose(row.result.finite, row.mean, rel_tol=1e-9, abs_tol=1e-12)


def _to_best(row: Row) -> str:
    if row.rank == 1:
        return "best"
    return {True: "tied", False: "worse", None: ""}[row.tied]


def _fitted(columns: list[_Column], width: int) -> list[_Column]:
    """The columns, narrowed and then thinned out until they fit; the caller cuts what is still too wide."""
    while not _narrowed(columns, width, hard=False):
        droppable = [c for c in columns if c.drop is not None]
        if not droppable:
            _narrowed(columns, width, hard=True)
            break
        first = min(droppable, key=lambda c: c.drop or 0)
        columns = [c for c in columns if c is not first]
    return columns


def _narrowed(columns: Sequence[_Column], width: int, *, hard: bool) -> bool:
    """Take from the widest column until all fit into `width`; whether they do."""
    for column in columns:
        column.width = column.widest()
    excess = sum(c.width for c in columns) + len(_GAP) * (len(columns) - 1) - width
    while excess > 0:
        soft = [c for c in columns if c.least is not None and c.width > c.least[hard]]
        if not soft:
            return False
        max(soft, key=lambda c: c.width).width -= 1
        excess -= 1
    return True


def _cell(text: str, column: _Column) -> str:
    from rich.cells import cell_len

    cut = _cut(text, column.width, middle=column.middle)
    space = " " * (column.width - cell_len(cut))
    return space + cut if column.right else cut + space


def _cut(text: str, width: int, *, middle: bool = False) -> str:
    """The text in `width` cells at most. Of names the `middle` goes, since long ones often differ at their ends."""
    from rich.cells import cell_len, set_cell_size

    if cell_len(text) <= width:
        return text
    if width < 2:
        return "…"[: max(width, 0)]
    room = (width - 1) // 2 if middle else 0
    tail = ""
    for c in reversed(text):
        if cell_len(c + tail) > room:
            break
        tail = c + tail
    return f"{set_cell_size(text, width - 1 - room).rstrip()}…{tail}"
