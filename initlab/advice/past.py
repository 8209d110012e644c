"""Results of similar runs in the store: same task and model, depth within a factor of 1.5."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

from initlab.report.note import SCORES
from initlab.spec import Scalar
from initlab.statistics.student import interval
from initlab.tracking import RunRecord

#: a depth within this factor counts as similar
_NEAR = 1.5
#: scores of which less is better
_FALLING = ("bits_per_char", "perplexity", "loss")
#: verdicts of runs that learned nothing
_LOST = ("at_chance", "diverged")


@dataclass(frozen=True, kw_only=True)
class Past:
    """Runs of one initialisation with one activation.

    Attributes:
        runs: their number; trained: number of those that learned something.
        scores: of the test part (else validation), of those that have one.
        key: name of the score; higher: whether a larger one is better.
    """

    runs: int
    trained: int
    scores: tuple[float, ...]
    key: str
    higher: bool

    @property
    def mean(self) -> float:
        return mean(self.scores)

    def words(self) -> str:
        """The mean score with its 95 % interval (Student)."""
        found = interval(self.scores)
        width = f" ± {found.high - found.mean:.3f}" if found.draws > 1 else ""
        return f"{self.key} {found.mean:.3f}{width}"


def past_runs(records: Sequence[RunRecord], params: Mapping[str, Scalar]) -> tuple[dict[tuple[str, str], Past], str]:
    """(init, activation) → results, and a description of the runs.

    Of the runs with the same task and model, and a depth within a factor of 1.5, those on the same data where there
    are any. Runs that were killed are left out.

    Args:
        params: of the network in question.
    """
    like = [
        r for r in records
        if r.status in ("finished", "stopped", "diverged") and _has_same_params(r, params, ("task", "model"))
        and _is_near_depth(r.params.get("model.depth"), params.get("model.depth"))
    ]  # fmt: skip
    on_data = [r for r in like if _has_same_params(r, params, ("data",))]
    where = "on the same data" if on_data else "on other data"
    like = on_data or like
    key = _key(like)
    groups: dict[tuple[str, str], list[RunRecord]] = {}
    for run in like:
        groups.setdefault((run.params.get("init", ""), run.params.get("activation", "")), []).append(run)
    found = {
        pair: Past(
            runs=len(runs),
            trained=sum(not _is_lost(r) for r in runs),
            scores=tuple(r.metrics[key] for r in runs if key in r.metrics),
            key=key,
            higher=key.rpartition("/")[2] not in _FALLING,
        )
        for pair, runs in groups.items()
    }
    depth = f" and a depth near {params['model.depth']}" if params.get("model.depth") is not None else ""
    told = f"{len(like)} run{'s' * (len(like) != 1)} with this task and model{depth}, {where}" if like else ""
    return found, told


def _has_same_params(run: RunRecord, params: Mapping[str, Scalar], keys: Sequence[str]) -> bool:
    return all(run.params.get(k) == str(params.get(k)) for k in keys)


def _is_near_depth(depth: str | None, wanted: Scalar) -> bool:
    if depth is None or not isinstance(wanted, (int, float)):
        return depth is None and wanted is None
    try:
        ratio = float(depth) / wanted
    except (ValueError, ZeroDivisionError):
        return False
    return 1 / _NEAR <= ratio <= _NEAR


def _key(runs: Sequence[RunRecord]) -> str:
    """The most informative score that most of the runs have."""
    keys = [f"{part}/{name}" for part in ("test", "val") for name in SCORES]
    counts = {k: sum(k in r.metrics for r in runs) for k in keys}
    most = max(counts.values(), default=0)
    return next((k for k in keys if counts[k] == most and most > 0), "")


def _is_lost(run: RunRecord) -> bool:
    verdict = run.tags.get("initlab.verdict", "")
    return run.status == "diverged" or any(word in verdict for word in _LOST)
