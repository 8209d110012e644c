"""The coordinate check: does a network move alike at every width, or every depth?"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from initlab.core.tables import as_frame, as_html
from initlab.report.table import align_columns
from initlab.scaling.movement import Movements, Subject, measure
from initlab.scaling.slopes import ModuleSlope, slopes_of

if TYPE_CHECKING:
    import pandas as pd

    from initlab.report.charts import Figure

Axis = Literal["width", "depth"]
#: what the last layer of a network in μP does at initialisation
READOUT_FALLS = (
    "the output before training falls as width^{slope:.2f}, so that it is not flat before and in the first step: "
    "expected under μP, and no fault. The readout begins as random terms, which add up to 1/√width, and what it learns "
    "does not fall. init.head=zero begins without them"
)


@dataclass(frozen=True, kw_only=True)
class CoordinateCheck:
    """The result of a coordinate check; `print` shows it as a table.

    Attributes:
        axis: what was varied.
        sizes, seeds, steps: widths or depths, draws, updates.
        modules: the slope and the verdict of every activation, in the order of the forward pass.
        losses: mean loss before and after the steps, by size.
        notes: on the initialiser and the readout.
        optimizer: in words.
    """

    axis: Axis
    sizes: tuple[int, ...]
    seeds: tuple[int, ...]
    steps: int
    modules: tuple[ModuleSlope, ...]
    losses: tuple[tuple[float, float], ...] = ()
    notes: tuple[str, ...] = ()
    optimizer: str = ""

    @property
    def verdict(self) -> Literal["pass", "undecided", "fail"]:
        """``fail`` where any activation fails, ``pass`` where all that are judged pass."""
        found = {m.verdict for m in self.modules}
        if "fail" in found:
            return "fail"
        return "undecided" if "undecided" in found or "pass" not in found else "pass"

    @property
    def passed(self) -> bool:
        """Whether the verdict is ``pass``."""
        return self.verdict == "pass"

    def sentence(self) -> str:
        """The verdict in a sentence, with the activations it rests on."""
        over = f"{self.axis}s {self.sizes[0]} to {self.sizes[-1]}"
        judged = [m for m in self.modules if m.verdict != "not judged"]
        if self.verdict == "pass":
            return f"pass: all {len(judged)} activations move alike over {over}"
        worst = sorted(
            (m for m in judged if m.verdict == self.verdict),
            key=lambda m: -abs(m.slope.mean) if math.isfinite(m.slope.mean) else -math.inf,
        )
        if not worst:
            return f"undecided: nothing moved in {self.steps} steps"
        shown = ", ".join(f"{m.name} ({_signed(m.slope.mean)})" for m in worst[:3])
        more = f" and {len(worst) - 3} more" if len(worst) > 3 else ""
        what = "do not move alike" if self.verdict == "fail" else "are between flat and a slope of 0.3, or too noisy"
        return f"{self.verdict}: {len(worst)} of {len(judged)} activations {what} over {over}: {shown}{more}"

    def rows(self) -> list[dict[str, Any]]:
        """A row for each activation."""
        return [
            {
                "activation": m.name, "kind": m.kind,
                **{f"moved at {n}": v for n, v in zip(self.sizes, m.moved, strict=True)},
                "slope": m.slope.mean, "slope low": m.slope.low, "slope high": m.slope.high,
                "slope before training": m.start_slope, "verdict": m.verdict, "why": m.why,
            }
            for m in self.modules
        ]  # fmt: skip

    def frame(self) -> pd.DataFrame:
        """`rows` as a pandas table."""
        return as_frame(self.rows())

    def plot(self) -> Figure:
        """Movement of each activation against the size, and the slopes with their intervals."""
        from initlab.scaling.figures import movement_figure

        return movement_figure(self)

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Headings and rows of text: movement by size, slope with interval, slope before training, verdict."""
        head = ["activation", *(f"{n}" for n in self.sizes), "slope (95 %)", "before training", "verdict"]
        return head, [
            [
                m.name,
                *(_number(v) for v in m.moved),
                _with_interval(m),
                _signed(m.start_slope),
                m.verdict + (f": {m.why}" if m.why else ""),
            ]
            for m in self.modules
        ]

    def lines(self) -> list[str]:
        """The table as lines of text."""
        head, rows = self.table()
        return align_columns(head, rows, left=(0, len(head) - 1))

    def __str__(self) -> str:
        return "\n".join([*self.lines(), self.sentence(), *(f"note: {n}" for n in self.notes)])

    def __repr__(self) -> str:
        return f"<coordinate check: {self.sentence()}>"

    def _repr_html_(self) -> str:
        return f"<p>{self.sentence()}</p>{as_html(self.rows())}"

    def as_fields(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "verdict": self.verdict,
            "sentence": self.sentence(),
            "axis": self.axis,
            "sizes": list(self.sizes),
            "seeds": list(self.seeds),
            "steps": self.steps,
            "optimizer": self.optimizer,
            "losses": [{"size": n, "before": a, "after": b} for n, (a, b) in zip(self.sizes, self.losses, strict=True)],
            "activations": [
                {
                    "name": m.name, "kind": m.kind, "moved": list(m.moved), "before_training": list(m.start),
                    "slope": m.slope.mean, "slope_low": m.slope.low, "slope_high": m.slope.high,
                    "slope_before_training": m.start_slope, "verdict": m.verdict, "why": m.why,
                }
                for m in self.modules
            ],
            "notes": list(self.notes),
        }  # fmt: skip


def check_coordinates(
    make: Callable[[int, int], Subject],
    sizes: Sequence[int],
    *,
    axis: Axis = "width",
    seeds: Sequence[int] = (0, 1, 2),
    steps: int = 4,
    optimizer: str = "",
    progress: Callable[[str], None] = lambda _line: None,
) -> CoordinateCheck:
    """Measure the movement of every activation at several sizes, and judge its slope.

    Args:
        make: (size, seed) → network, optimiser and batch.
        sizes: two or more, better four.
        axis: what the sizes are.
        seeds: of the draws; the interval is over these.
        steps: updates on the one batch.
        optimizer: in words, for the record.
        progress: is told what is done.
    """
    measured = measure(make, sizes, seeds=seeds, steps=steps, progress=progress)
    modules = slopes_of(measured, axis)
    return CoordinateCheck(
        axis=axis, sizes=measured.sizes, seeds=measured.seeds, steps=steps, modules=modules,
        losses=_mean_losses(measured), notes=(*measured.notes, *_readout_notes(modules, axis)), optimizer=optimizer,
    )  # fmt: skip


# ------------------------------------------------------------------ pieces
def _readout_notes(modules: Sequence[ModuleSlope], axis: Axis) -> tuple[str, ...]:
    output = next((m for m in modules if m.kind == "logits"), None)
    if axis != "width" or output is None or not output.start_slope < -0.15:
        return ()
    return (READOUT_FALLS.format(slope=output.start_slope),)


def _mean_losses(measured: Movements) -> tuple[tuple[float, float], ...]:
    def mean(row: Sequence[tuple[float, float]], index: int) -> float:
        return sum(pair[index] for pair in row) / len(row)

    return tuple((mean(row, 0), mean(row, 1)) for row in measured.losses)


def _with_interval(module: ModuleSlope) -> str:
    if not math.isfinite(module.slope.mean):
        return "-"
    if not math.isfinite(module.slope.low):
        return _signed(module.slope.mean)
    return f"{module.slope.mean:+.2f} ± {module.slope.high - module.slope.mean:.2f}"


def _signed(value: float) -> str:
    return f"{value:+.2f}" if math.isfinite(value) else "-"


def _number(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "not finite"
