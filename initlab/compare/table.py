"""Table of a comparison: a pandas frame with all numbers, and text, Markdown and LaTeX for readers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from initlab.compare.ending import ENDINGS, Ending
from initlab.compare.result import Comparison, Row, usual_method
from initlab.core.text import interval_text
from initlab.statistics.judgement import verdict

if TYPE_CHECKING:
    import pandas as pd

_GAP = "  "
_LOST: dict[Ending, str] = {"diverged": "diverged", "failed": "failed", "early": "ended early", "running": "running"}


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of the table for readers.

    Attributes:
        heading: above it.
        cells: one a row.
        numbers: whether it is right-aligned.
        drop: in a narrow table the columns with the highest number are dropped first; 0 is never dropped.
    """

    heading: str
    cells: tuple[str, ...]
    numbers: bool = True
    drop: int = 0

    @property
    def width(self) -> int:
        return max(map(len, (self.heading, *self.cells)))


# ------------------------------------------------------------------ for machines
def frame(made: Comparison) -> pd.DataFrame:
    """One row an arm, with all its results, unrounded."""
    import pandas as pd

    keys = _keys(made)
    rows: list[dict[str, object]] = []
    for r in made.rows:
        pair, base, learned = r.to_best, r.to_baseline, r.learning
        rows.append({
            **({"task": made.label} if made.label else {}),
            "rank": r.rank, "arm": r.arm.key, **{k: r.arm.choices.get(k, "") for k in keys}, "metric": made.by.metric,
            "n": r.n, "mean": r.mean, "sd": r.sd, "low": r.low, "high": r.high, "interval": r.method, "iqm": r.iqm,
            "failed_seeds": r.failed, "mean_where_learned": r.level,
            "probability_best": r.best, "winner": r.winner, "p": r.p, "p_equivalent": r.p_equivalent,
            "best_minus_this": _of(pair, "difference"), "best_minus_this_low": _of(pair, "low"),
            "best_minus_this_high": _of(pair, "high"), "hedges_g": _of(pair, "effect"),
            "p_exact": r.p_exact, "p_t": r.p_t,
            "this_minus_baseline": _of(base, "difference"), "this_minus_baseline_low": _of(base, "low"),
            "this_minus_baseline_high": _of(base, "high"), "baseline_hedges_g": _of(base, "effect"),
            "baseline_p_exact": r.baseline_exact, "baseline_p_t": r.baseline_t,
            "steps_to_target": learned.steps_to_target if learned else math.nan,
            "reached_target": learned.reached if learned else None, "area": learned.area if learned else math.nan,
            **{_LOST.get(e, e).replace(" ", "_"): r.arm.count(e) for e in ENDINGS},
            "seeds": " ".join(r.arm.values), "values": " ".join(f"{v:.9g}" for v in r.arm.values.values()),
        })  # fmt: skip
    return pd.DataFrame(rows).astype({"rank": "Int64", "winner": "boolean", "reached_target": "Int64"})


def _of(pair: object, name: str) -> float:
    return math.nan if pair is None else float(getattr(pair, name))


# ------------------------------------------------------------------ for readers
def columns(made: Comparison, rows: Sequence[Row] | None = None) -> list[Column]:
    """The columns for `rows`, or for all rows where none are given."""
    shown = list(made.rows if rows is None else rows)

    def column(heading: str, cell: Callable[[Row], str], *, numbers: bool = True, drop: int = 0) -> Column:
        return Column(heading=heading, cells=tuple(map(cell, shown)), numbers=numbers, drop=drop)

    found = [column("rank", lambda r: "" if r.rank is None else str(r.rank), drop=6)]
    found += [column(k, lambda r, k=k: r.arm.choices.get(k, "–"), numbers=False) for k in _keys(made)]
    found += [
        column("n", lambda r: str(r.n or "")),
        column("mean", lambda r: number(r.mean)),
        column("sd", lambda r: number(r.sd), drop=5),
        column("95 %", lambda r: interval_text(r.low, r.high)),
        column("best set", lambda r: verdict(first=r.rank == 1, in_best_set=r.winner), numbers=False),
        column("p", lambda r: probability(r.p), drop=3),
        column("p equivalent", lambda r: probability(r.p_equivalent), drop=3),
        column("P(best)", lambda r: probability(r.best), drop=4),
        column("to best", lambda r: _format_signed(-r.to_best.difference if r.to_best else math.nan), drop=5),
        column("g", lambda r: _format_signed(-r.to_best.effect if r.to_best else math.nan, 2), drop=10),
        column("p exact", lambda r: probability(r.p_exact), drop=11),
        column("p t", lambda r: probability(r.p_t), drop=9),
        column("IQM", lambda r: number(r.iqm), drop=8),
        column("failed", lambda r: f"{r.failed} of {r.n}" if r.failed else "", drop=1),
    ]
    if made.baseline is not None:
        base = made.rows[made.baseline]
        found += [
            column("to baseline", lambda r: "baseline" if r is base else _difference(r), drop=2),
            column("p exact vs. baseline", lambda r: probability(r.baseline_exact), drop=12),
            column("p t vs. baseline", lambda r: probability(r.baseline_t), drop=2),
        ]
    if any(r.learning for r in made.rows):
        found += [
            column("steps to target", _steps, drop=7),
            column("area", lambda r: number(r.learning.area) if r.learning else "", drop=13),
        ]
    if any(r.arm.count(e) for r in shown for e in _LOST):
        found.append(column("lost", _format_lost, numbers=False, drop=1))
    return [c for c in found if c.drop == 0 or any(c.cells)]


def fit_columns(found: Sequence[Column], width: int) -> list[Column]:
    """The columns that fit `width` characters; the least important ones are dropped first."""
    kept = list(found)
    while sum(c.width for c in kept) + len(_GAP) * (len(kept) - 1) > width:
        able = [c for c in kept if c.drop]
        if not able:
            break
        kept.remove(max(able, key=lambda c: c.drop))
    return kept


def text(found: Sequence[Column]) -> str:
    """Aligned plain text."""
    lines = [[c.heading for c in found], *([c.cells[i] for c in found] for i in range(len(found[0].cells)))]
    return "\n".join(
        _GAP.join(
            v.rjust(c.width) if c.numbers else v.ljust(c.width) for v, c in zip(line, found, strict=True)
        ).rstrip()
        for line in lines
    )


def markdown(found: Sequence[Column]) -> str:
    """A table of Markdown."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |"

    rule = line(["---:" if c.numbers else "---" for c in found])
    body = [line([c.cells[i] for c in found]) for i in range(len(found[0].cells))]
    return "\n".join([line([c.heading for c in found]), rule, *body])


def latex(found: Sequence[Column], made: Comparison) -> str:
    """A table of LaTeX with the package booktabs."""

    def line(cells: Sequence[str]) -> str:
        return " & ".join(_tex(c) for c in cells) + r" \\"

    body = [line([c.cells[i] for c in found]) for i in range(len(found[0].cells))]
    spec = "".join("r" if c.numbers else "l" for c in found)
    caption = _tex(" ".join(caption_of(made)))
    return "\n".join([
        r"\begin{table}", r"\centering", rf"\caption{{{caption}}}", rf"\begin{{tabular}}{{{spec}}}", r"\toprule",
        line([c.heading for c in found]), r"\midrule", *body, r"\bottomrule", r"\end{tabular}", r"\end{table}", "",
    ])  # fmt: skip


def caption_of(made: Comparison) -> list[str]:
    """Sentences that explain the columns."""
    more = "more" if made.by.sign > 0 else "less"
    said = [
        f"{made.by.metric} ({more} is better), mean over n seeds with 95 % interval ({usual_method(made.rows)}).",
    ]
    if any(r.winner is not None for r in made.rows) and len(made.rows) > 1:
        said.append(
            f"Best set: not distinguishable from the best at {made.alpha:g}, corrected for all arms"
            f" (p: maximum statistic{' within seeds' if made.paired else ''}, step down)."
        )
    if any(math.isfinite(r.p_t) for r in made.rows):
        kind = "paired" if made.paired else "Welch's"
        said.append(f"p exact, p t: sign-flip permutation and {kind} t against the best, {made.correction}.")
    if made.baseline is not None:
        said.append(f"Baseline: {made.rows[made.baseline].arm.name}; Holm over the other arms.")
    if math.isfinite(made.target) and any(r.learning for r in made.rows):
        said.append(
            f"Target: {made.by.curve} {number(made.target)}; area: mean of {made.by.curve} to step {made.until}."
        )
    return said


def answer_lines(made: Comparison) -> list[str]:
    """The result: the best arms, the probability of the best one, and the number of seeds for a clearer result."""
    able = [r for r in made.rows if r.rank is not None]
    best = able[0]
    ends = interval_text(best.low, best.high)
    half = f" [{ends}]" if ends else ""
    head = f"best: {best.arm.name} with {made.by.metric} {number(best.mean)}{half}"
    lines: list[str] = []
    if best.winner is None or len(able) == 1:
        lines.append(head)
    elif len(made.winners) == 1:
        lines.append(f"{head}; no other arm is as good (level {made.alpha:g}, corrected for {len(able)} arms)")
    else:
        others = [r.arm.name for r in made.winners if r is not best]
        told = "; ".join(others[:6]) + (f"; and {len(others) - 6} more" if len(others) > 6 else "")
        lines.append(f"{head}; {len(others)} more not distinguishable from it: {told}")
    if made.margin is not None:
        same = [r.arm.name for r in able[1:] if r.p_equivalent <= made.alpha]
        told = "; ".join(same) or "no arm, with these seeds"
        lines.append(f"equivalent to it within {made.margin:g} (two one-sided tests, level {made.alpha:g}): {told}")
    if math.isfinite(best.best) and len(able) > 1:
        lines.append(f"it is the best with probability {probability(best.best)}")
    if len(able) > 1 and not math.isnan(made.needed):
        count = "more than 10,000" if math.isinf(made.needed) else f"about {made.needed:.0f}"
        lines.append(
            f"to distinguish the first two ({best.arm.name}; {able[1].arm.name}) in this study would take {count} seeds"
            f" each, if they differ as observed (by simulation of the best set, power 80 %, level {made.alpha:g})"
        )
    lines += [
        f"{effect.name}: {effect.share:.1%} of the variance (η²; partial {effect.partial:.1%}), F({effect.df},"
        f" {effect.df_residual}) {effect.f:.3g} on aligned ranks, p {probability(effect.p)}"
        for effect in made.effects
    ]
    return lines


# ------------------------------------------------------------------ words and numbers
def number(value: float) -> str:
    """Four decimals; powers of ten for very small values; none for large counts; empty for NaN."""
    if math.isnan(value):
        return ""
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if 100 <= abs(value) < 1e9 and value == int(value):
        return str(int(value))
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e5 else f"{value:.2e}"


def probability(value: float) -> str:
    """Three decimals, or an upper bound for smaller values."""
    if math.isnan(value):
        return ""
    return "<0.001" if 0 <= value < 0.001 else f"{value:.3f}"


def _format_signed(value: float, places: int = 4) -> str:
    return "" if math.isnan(value) else f"{value:+.{places}f}" if abs(value) < 1e5 else f"{value:+.2e}"


def _difference(row: Row) -> str:
    return _format_signed(row.to_baseline.difference) if row.to_baseline else ""


def _steps(row: Row) -> str:
    learned = row.learning
    if learned is None:
        return ""
    share = f" ({learned.reached} of {learned.of})" if learned.reached < learned.of else ""
    return ("never" if math.isinf(learned.steps_to_target) else f"{learned.steps_to_target:.0f}") + share


def _format_lost(row: Row) -> str:
    return ", ".join(f"{n} {w}" for e, w in _LOST.items() if (n := row.arm.count(e)))


def _keys(made: Comparison) -> list[str]:
    return list(dict.fromkeys(k for r in made.rows for k in r.arm.choices))


_TEX: Mapping[str, str] = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "…": r"\dots{}", "–": "--", "η": r"$\eta$",
    "²": r"\textsuperscript{2}", "×": r"$\times$", "∞": r"$\infty$", "<": r"$<$", ">": r"$>$",
}  # fmt: skip


def _tex(cell: str) -> str:
    return "".join(_TEX.get(c, c) for c in cell)
