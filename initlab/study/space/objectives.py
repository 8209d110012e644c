"""Objectives of a study: metrics and directions, their values for one run, Pareto fronts of several."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Literal

from initlab.errors import ConfigError
from initlab.spec import RunResult, Scalar, StudySettings
from initlab.study.space.metrics import COSTS, TIMES, check_metrics

Direction = Literal["maximize", "minimize"]
#: of a study's one objective, or of each where there are several
Metrics = str | tuple[str, ...]
Directions = Direction | tuple[Direction, ...]

#: suffixes of scores of which less is better
_LESS = ("loss", "perplexity", "bits_per_char")
#: metrics that an error message lists; metrics of single layers would make it very long
_NAMED = ("train/", "val/", "test/", "diag/", "throughput/")


def resolve_objectives(settings: StudySettings, monitor: str) -> tuple[Metrics, Directions]:
    """Metric and direction with ``auto`` replaced: one of each, or as many of both.

    Args:
        settings: as configured.
        monitor: the metric by which the task chooses the best epoch.

    Raises:
        ConfigError: a duplicate metric, a wrong number of directions, or one that cannot be inferred from the name.
    """
    metrics = tuple(monitor if m == "auto" else m for m in each(settings.metric))
    if not metrics or len(set(metrics)) < len(metrics):
        raise ConfigError("study.metric", _listed(metrics), "give one key, or a list of different ones")
    check_metrics(metrics)
    ways = each(settings.direction)
    if ways == ("auto",):
        ways = ("auto",) * len(metrics)
    if len(ways) != len(metrics):
        text = f"{len(metrics)} metrics need as many: a list of maximize, minimize and auto, or auto for all"
        raise ConfigError("study.direction", _listed(ways), text)
    known: tuple[Direction, ...] = tuple(
        _by_name(m) if w == "auto" else as_direction(w) for m, w in zip(metrics, ways, strict=True)
    )
    return (metrics[0], known[0]) if len(metrics) == 1 else (metrics, known)


def require_target(metrics: Metrics, arms: Sequence[Mapping[str, Scalar]]) -> None:
    """Raise ConfigError where the time to a target is asked for, and one of `arms` (parameters of each) has none."""
    for metric in each(metrics):
        if metric in TIMES and any(params.get("trainer.until") is None for params in arms):
            raise ConfigError(
                "study.metric", metric, "needs a target: add 'trainer.until=train/loss<=0.3', for example"
            )


def each(one_or_several: str | Sequence[str]) -> tuple[str, ...]:
    """One text as a tuple of one."""
    return (one_or_several,) if isinstance(one_or_several, str) else tuple(one_or_several)


def _by_name(metric: str) -> Direction:
    if metric in (*COSTS, *TIMES) or metric.endswith(_LESS):
        return "minimize"
    if metric.startswith(("train/", "val/", "test/", "throughput/", "episode/")):
        return "maximize"
    raise ConfigError("study.direction", "auto", f"whether more of {metric} is better, say by maximize or minimize")


def as_direction(name: str) -> Direction:
    """Check and return a resolved direction."""
    return "minimize" if name == "minimize" else "maximize"


def _listed(words: Sequence[str]) -> str:
    return f"[{','.join(words)}]"


# ------------------------------------------------------------------ of one run
def collect_values(result: RunResult, seen: Mapping[str, float], parameters: int) -> dict[str, float]:
    """All values of an ended run that a metric can name: last metrics, costs (seconds, steps), number of parameters.

    Args:
        result: of the run.
        seen: the last value of each key that was recorded in training, NaN for one that was not finite.
        parameters: of its network.
    """
    took = {"seconds": result.seconds, "steps": float(result.steps), "parameters": float(parameters)}
    return {**seen, **result.metrics, **took}


def misses_target(found: Mapping[str, float], metrics: Metrics) -> bool:
    """Whether the time to the target of `trainer.until` is asked for, and the run did not reach it."""
    return any(m in TIMES and m not in found for m in each(metrics))


def select_values(found: Mapping[str, float], metrics: Metrics) -> tuple[float, ...] | None:
    """The value of each metric; None where one of them is not finite, or where the run did not reach its target.

    Raises:
        ConfigError: a key that the run does not have; lists those that it has.
    """
    if misses_target(found, metrics):
        return None
    for metric in each(metrics):
        if metric not in found:
            near = difflib.get_close_matches(metric, found, n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            keys = sorted(k for k in found if k.startswith(_NAMED) or k in COSTS)
            text = f"the run has no such number{hint}; it has {', '.join(keys)}"
            raise ConfigError("study.metric", metric, text)
    values = tuple(found[m] for m in each(metrics))
    return values if all(map(math.isfinite, values)) else None


# ------------------------------------------------------------------ of several arms
def fronts(points: Sequence[Sequence[float]], directions: Sequence[str]) -> list[int]:
    """The front of each point, 1 for those that no other dominates, 2 for those that only the first dominate, ...

    One point dominates another where it is as good in everything and better in something. Source: non-dominated
    sorting, Deb, Pratap, Agarwal & Meyarivan, IEEE Trans. Evol. Comput. 2002; in the order of Zhang, Tian, Cheng & Jin,
    2015: of points in lexicographic order only an earlier one can dominate.
    """
    signs = [-1.0 if d == "maximize" else 1.0 for d in directions]
    costs = [tuple(s * v for s, v in zip(signs, point, strict=True)) for point in points]
    held: list[list[tuple[float, ...]]] = []
    rank = [0] * len(points)
    for i in sorted(range(len(points)), key=costs.__getitem__):
        where = next((n for n, front in enumerate(held) if not any(_dominates(c, costs[i]) for c in front)), len(held))
        if where == len(held):
            held.append([])
        held[where].append(costs[i])
        rank[i] = where + 1
    return rank


def _dominates(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a != b and all(x <= y for x, y in zip(a, b, strict=True))
