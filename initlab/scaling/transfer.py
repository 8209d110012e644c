"""Transfer of learning rates: the final loss over learning rate and size, and whether the best rate moves.

Yang et al., Tensor Programs V, 2022, figure 1, claim that it stays where it is under μP.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from initlab.core.tables import as_frame, as_html
from initlab.report.table import align_columns
from initlab.scaling.optimum import Grid, Optimum, difference_of, find_optimum, shift_of

if TYPE_CHECKING:
    import pandas as pd

    from initlab.report.charts import Figure


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """The result: `print` shows the grid, the optimum of each size, and what follows.

    Attributes:
        grid: what was measured.
        means: mean loss, size × learning rate.
        optima: of each size.
        shift: of log2 of the best rate from the smallest size to the largest, by a straight line through the optima of
            all sizes and seeds in log2.
        shift_half_width: of its 95 % interval, from the scatter about that line.
        verdict: ``moves``, ``stays`` or ``not known``.
        notes: of the initialiser.
    """

    grid: Grid
    means: tuple[tuple[float, ...], ...]
    optima: tuple[Optimum, ...]
    shift: float
    shift_half_width: float
    verdict: Literal["moves", "stays", "not known"]
    notes: tuple[str, ...] = ()

    def sentence(self) -> str:
        """Whether the best learning rate moves."""
        ratio = self.grid.sizes[-1] / self.grid.sizes[0]
        over = f"over {ratio:g} x {self.grid.axis} ({self.grid.sizes[0]} to {self.grid.sizes[-1]})"
        if not math.isfinite(self.shift):
            return f"not known: at some {self.grid.axis} every run diverged"
        moved = f"{self.shift:+.1f} ± {self.shift_half_width:.1f} in log2"
        edges = [f"{n} ({o.at_edge} end)" for n, o in zip(self.grid.sizes, self.optima, strict=True) if o.at_edge]
        beyond = (
            f". The best rate lies at the edge of the grid at {self.grid.axis} {', '.join(edges)}: it may be further "
            "out; widen lrs="
            if edges
            else ""
        )
        if self.verdict == "moves":
            return f"the best learning rate moves by {moved} {over}{beyond}"
        if self.verdict == "stays" and abs(self.shift) > self.shift_half_width:
            return f"the best learning rate stays within a factor of 2: it moves by {moved} {over}{beyond}"
        if self.verdict == "stays":
            return f"the best learning rate stays within its uncertainty, {moved}, {over}{beyond}"
        return f"not known whether the best learning rate moves: {moved} {over}{beyond or '; take more seeds or lrs='}"

    def loss_sentence(self) -> str:
        """The best loss by size: that the best rate stays proves no good parametrisation."""
        first, last = self.optima[0], self.optima[-1]
        shown = ", ".join(
            f"{n}: {_with(o.loss, o.loss_half_width)}" for n, o in zip(self.grid.sizes, self.optima, strict=True)
        )
        change, noise = difference_of(first.losses, last.losses)
        if change < -noise:
            word = "falls with the size"
        elif change > noise:
            word = "rises with the size: a best rate that stays does not make a good parametrisation"
        else:
            word = "does not change beyond its uncertainty"
        return f"best {self.grid.metric} by {self.grid.axis}: {shown}; it {word}"

    def base_sentence(self) -> str:
        """What the smallest size's best rate costs at the largest size."""
        best = min(range(len(self.grid.lrs)), key=lambda k: self.means[0][k])
        there, own = self.means[-1][best], self.optima[-1].loss
        lr = f"2^{math.log2(self.grid.lrs[best]):.3g}"
        last, first = self.grid.sizes[-1], self.grid.sizes[0]
        if not math.isfinite(there):
            return f"at the best rate of {self.grid.axis} {first}, {lr}, {self.grid.axis} {last} diverges"
        return (
            f"at the best rate of {self.grid.axis} {first}, {lr}, {self.grid.axis} {last} has {there:.3f}, "
            f"{there - own:.3f} above its own best"
        )

    def rows(self) -> list[dict[str, Any]]:
        """A row for each size."""
        return [
            {
                self.grid.axis: n,
                **{f"lr {lr:.4g}": v for lr, v in zip(self.grid.lrs, row, strict=True)},
                "best log2 lr": o.log2_lr, "± ": o.half_width, "best loss": o.loss, "±": o.loss_half_width,
            }
            for n, row, o in zip(self.grid.sizes, self.means, self.optima, strict=True)
        ]  # fmt: skip

    def frame(self) -> pd.DataFrame:
        """`rows` as a pandas table."""
        return as_frame(self.rows())

    def plot(self) -> Figure:
        """Loss against learning rate by size, and the optimum by size."""
        from initlab.scaling.figures import transfer_figure

        return transfer_figure(self)

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Headings and rows of text: mean loss by learning rate, the lowest of each size with a star, the optimum."""
        head = [self.grid.axis, *(f"2^{math.log2(lr):.3g}" for lr in self.grid.lrs), "best log2 lr", "best loss"]
        rows: list[list[str]] = []
        for n, row, o in zip(self.grid.sizes, self.means, self.optima, strict=True):
            low = min(row)
            cells = [("diverged" if math.isinf(v) else f"{v:.3f}") + ("*" if v == low else " ") for v in row]
            edge = {"": "", "low": " (lowest lr)", "high": " (highest lr)"}[o.at_edge]
            rows.append([str(n), *cells, _with(o.log2_lr, o.half_width, 2) + edge, _with(o.loss, o.loss_half_width)])
        return head, rows

    def lines(self) -> list[str]:
        """The table as lines of text."""
        return align_columns(*self.table(), left=())

    def __str__(self) -> str:
        told = [self.sentence(), self.base_sentence(), self.loss_sentence(), *(f"note: {n}" for n in self.notes)]
        return "\n".join([*self.lines(), *told])

    def __repr__(self) -> str:
        return f"<transfer: {self.sentence()}>"

    def _repr_html_(self) -> str:
        return f"<p>{self.sentence()}</p>{as_html(self.rows())}"

    def as_fields(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        g = self.grid
        return {
            "verdict": self.verdict, "sentence": self.sentence(), "axis": g.axis, "sizes": list(g.sizes),
            "lrs": list(g.lrs), "seeds": list(g.seeds), "metric": g.metric, "losses": g.losses,
            "shift_log2": self.shift, "shift_half_width": self.shift_half_width,
            "optima": [
                {
                    "size": n, "log2_lr": o.log2_lr, "half_width": o.half_width, "at_edge": o.at_edge or None,
                    "loss": o.loss, "loss_half_width": o.loss_half_width,
                }
                for n, o in zip(g.sizes, self.optima, strict=True)
            ],
            "notes": list(self.notes),
        }  # fmt: skip


def judge_transfer(grid: Grid, notes: tuple[str, ...] = ()) -> Transfer:
    """Find the best learning rate of each size, and whether it moves.

    It moves where the shift from the smallest size to the largest is more than 1 in log2, and more than 0.5 with its
    whole interval. It stays where the shift is 1 or less, its interval excludes a rate that falls or rises as the size
    itself, and neither end's optimum lies at the edge of the grid. Else it is not known.

    Example:
        >>> u_shaped = tuple((abs(k - 1.0), abs(k - 1.0) + 0.1) for k in range(3))
        >>> grid = Grid(axis="width", sizes=(64, 128), lrs=(0.01, 0.02, 0.04), seeds=(0, 1), losses=(u_shaped,) * 2)
        >>> judge_transfer(grid).verdict
        'stays'
    """
    logs = [math.log2(lr) for lr in grid.lrs]
    means = tuple(tuple(sum(cell) / len(cell) for cell in row) for row in grid.losses)
    optima = tuple(find_optimum(logs, row, mean) for row, mean in zip(grid.losses, means, strict=True))
    first, last = optima[0], optima[-1]
    shift, half = shift_of([math.log2(n) for n in grid.sizes], [o.by_seed for o in optima])
    steps = [b - a for a, b in pairwise(logs)]
    half = max(half, min(steps) / 4) if steps else half
    whole = math.log2(grid.sizes[-1] / grid.sizes[0])
    verdict: Literal["moves", "stays", "not known"] = "not known"
    if math.isfinite(shift) and abs(shift) > 1 and abs(shift) - half > 0.5:
        verdict = "moves"
    elif math.isfinite(shift) and abs(shift) <= 1 and abs(shift) + half < whole and not (first.at_edge or last.at_edge):
        verdict = "stays"
    return Transfer(
        grid=grid, means=means, optima=optima, shift=shift, shift_half_width=half, verdict=verdict, notes=notes
    )


def _with(value: float, half: float, digits: int = 3) -> str:
    if not math.isfinite(value):
        return "diverged"
    return f"{value:.{digits}f}" + (f" ± {half:.{digits}f}" if math.isfinite(half) else "")
