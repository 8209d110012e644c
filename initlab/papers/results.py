"""Values of a claim's runs: read from the store after a study, kept in `.initlab/papers`."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from initlab import tracking
from initlab.compare.arms import by_task, untrained
from initlab.compare.ending import ending_of
from initlab.compare.metric import LESS, Metric, curve_of
from initlab.errors import InitlabError
from initlab.spec import TrackingSettings
from initlab.spec.target import UNTIL_STEP
from initlab.tracking.spool.spool import write_atomic

#: below the working directory
FOLDER = Path(".initlab/papers")
#: points of a curve that are kept
_POINTS = 100


@dataclass(frozen=True, kw_only=True)
class Row:
    """Values of one arm under one seed.

    Attributes:
        part: of the claim.
        params: configuration key → value as text, of the keys that the claim names.
        seed: of the run.
        values: metric → value, finite.
        curve: (update, value) of the metric that is drawn over updates.
        budget: updates that the run made, where `UNTIL_STEP` is read; inf where that is not known.
        ending: finished or diverged.
    """

    part: str
    params: Mapping[str, str]
    seed: int
    values: Mapping[str, float]
    curve: tuple[tuple[float, float], ...] = ()
    budget: float = math.inf
    ending: str = "finished"


def rows_of_study(
    name: str, part: str, *, metrics: Collection[str], keys: Collection[str], drawn: str, settings: TrackingSettings,
    workdir: Path,
) -> tuple[tuple[Row, ...], float]:  # fmt: skip
    """Rows of the study `name` in the store, and the seconds in which one of its runs or more was trained.

    Raises:
        InitlabError: where a run of it has no end.
    """
    found = tracking.read_runs(settings, workdir=workdir, studies=(name,))
    if not found.runs:
        raise InitlabError(f"study {name} has no runs in the store {tracking.describe_location(found.uri)}")
    # of a run that was stopped and trained again the finished one counts; tasks that differ divide nothing here
    runs = [r for raw in by_task(found.runs, ("task", "data")) for arm in raw.arms.values() for r in arm.values()]
    open_ = [r for r in runs if ending_of(r) not in ("finished", "diverged")]
    if open_:
        raise InitlabError(f"{len(open_)} runs of study {name} have no end: {open_[0].run_id} is {ending_of(open_[0])}")
    curves: Mapping[str, tracking.Curve] = {}
    if drawn:
        curves, _ = tracking.read_curves(found, runs, drawn, workdir=workdir)
    worst = {m: _untrained(runs, m, workdir=workdir, found=found) for m in metrics}
    made = _made(found, runs, workdir) if UNTIL_STEP in metrics else {}
    rows: list[Row] = []
    for run in runs:
        diverged = ending_of(run) == "diverged"
        values = {m: run.metrics[m] for m in metrics if m in run.metrics and not diverged}
        if diverged:
            values = {m: v for m, v in worst.items() if math.isfinite(v)}
        rows.append(
            Row(
                part=part, params={k: run.params[k] for k in keys if k in run.params},
                seed=int(run.tags.get("seed") or run.params.get("seed", "0")), values=values,
                curve=_thinned(curves.get(run.run_id, ())), budget=made.get(run.run_id, math.inf),
                ending="diverged" if diverged else "finished",
            )
        )  # fmt: skip
    return tuple(sorted(rows, key=lambda r: (sorted(r.params.items()), r.seed))), _seconds(runs)


def save_rows(file: Path, rows: Sequence[Row], fingerprint: str, seconds: float) -> None:
    """Keep the rows of a part, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    content = {"fingerprint": fingerprint, "seconds": seconds, "rows": [asdict(r) for r in rows]}
    write_atomic(file, json.dumps(content))


def load_rows(file: Path, fingerprint: str) -> tuple[tuple[Row, ...], float] | None:
    """Rows of a part and the seconds it took, where it was trained as it is configured now."""
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if content["fingerprint"] != fingerprint:
            return None
        rows = tuple(_row(r) for r in content["rows"])
        return rows, float(content["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


# ------------------------------------------------------------------ pieces
def _row(kept: Mapping[str, Any]) -> Row:
    return Row(
        part=kept["part"], params=kept["params"], seed=kept["seed"], values=kept["values"],
        curve=tuple((s, v) for s, v in kept["curve"]), budget=kept["budget"], ending=kept["ending"],
    )  # fmt: skip


def _untrained(runs: Sequence[tracking.RunRecord], metric: str, *, workdir: Path, found: tracking.Found) -> float:
    """What stands for the value of a run that diverged: that of untrained networks, as in a comparison."""
    if not any(ending_of(r) == "diverged" for r in runs):
        return math.nan
    curve = curve_of(metric)
    direction = "minimize" if metric.endswith(LESS) else "maximize"
    curves = tracking.read_curves(found, runs, curve, workdir=workdir)[0] if curve else {}
    return untrained(runs, Metric(metric=metric, direction=direction, curve=curve), curves)


def _made(found: tracking.Found, runs: Sequence[tracking.RunRecord], workdir: Path) -> Mapping[str, float]:
    """Run id → the update of its last validation: what a run that ends by its epochs made is in no parameter."""
    curves, _ = tracking.read_curves(found, runs, "val/loss", workdir=workdir)
    return {run_id: float(curve[-1][0]) for run_id, curve in curves.items() if curve}


def _thinned(curve: tracking.Curve) -> tuple[tuple[float, float], ...]:
    """The curve with no more than `_POINTS` points and its last one, each once."""
    step = max(1, math.ceil(len(curve) / _POINTS))
    return tuple((float(s), v) for s, v in dict([*curve[::step], *curve[-1:]]).items())


def _seconds(runs: Sequence[tracking.RunRecord]) -> float:
    """Seconds in which a run or more was trained, also where the study was stopped in between."""
    total, until = 0.0, 0
    for start, end in sorted((r.start_ms, r.end_ms) for r in runs if r.end_ms > r.start_ms > 0):
        total += max(0, end - max(start, until))
        until = max(until, end)
    return total / 1000
