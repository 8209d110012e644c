"""Tunes the learning rate of an arm by a small sweep before arms are compared: rankings flip with the learning rate.

The sweep trains under a seed that no replica has. A rate chosen by the replicas themselves would be biased in favour of
the arm: the best of several noisy numbers is better than its expectation (Cawley & Talbot, JMLR 2010). For the same
reason a rate is never chosen by the test part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from initlab.errors import ConfigError
from initlab.spec import RunStatus, StudySettings

#: the swept key
LR = "optimizer.lr"
#: maximum number of further rates where the best one is the first or last of the sweep
EXTENSIONS = 2


def describe_loss(status: RunStatus) -> str:
    """Why a run has no value: how it ended, or, where it ended as it should, that it did not reach its target."""
    return "target not reached" if status in ("finished", "stopped") else status


@dataclass(frozen=True, kw_only=True)
class Point:
    """One learning rate; `value` is None where its run has none."""

    lr: float
    value: float | None
    status: RunStatus
    run_id: str = ""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Result of the learning-rate sweep of an arm.

    Attributes:
        points: the rates in the order in which they were tried.
        chosen: the rate that the arm is trained with; None where no rate has a value.
        at_edge: whether it is the lowest or the highest of all, so that a better one may lie beyond.
    """

    points: tuple[Point, ...]
    chosen: float | None
    at_edge: bool

    @property
    def note(self) -> str:
        """A note about a problem of the sweep; empty where there is none."""
        if self.chosen is None:
            # only the diagnosis ends a run of a sweep early
            words = ", ".join(
                sorted({"doomed" if p.status == "killed" else describe_loss(p.status) for p in self.points})
            )
            low, high = (f(p.lr for p in self.points) for f in (min, max))
            return f"{words} at every learning rate from {low:g} to {high:g}"
        return "the best learning rate is at the edge of its sweep" if self.at_edge else ""

    def as_json(self) -> dict[str, Any]:
        """Plain data, for a file."""
        return asdict(self)

    @staticmethod
    def from_json(plain: Mapping[str, Any]) -> Sweep:
        """The sweep that `as_json` wrote, also after it went through a JSON file."""
        points = tuple(Point(**p) for p in plain["points"])
        return Sweep(points=points, chosen=plain["chosen"], at_edge=plain["at_edge"])


def sweep(base: float, factors: Sequence[float], measure: Callable[[float], Point], *, maximises: bool) -> Sweep:
    """Try `factors` times `base`, and further rates beyond the edge where the best one lies there.

    Args:
        base: the arm's own learning rate.
        factors: at least two.
        measure: trains at a rate.
        maximises: whether a larger value is better.
    """
    points = [measure(round_rate(base * factor)) for factor in sorted(set(factors))]
    for _ in range(EXTENSIONS):
        lr = next_rate(points, maximises=maximises)
        if lr is None:
            break
        points.append(measure(lr))
    found = best(points, maximises=maximises)
    return Sweep(
        points=tuple(points),
        chosen=None if found is None else found.lr,
        at_edge=found is not None and next_rate(points, maximises=maximises) is not None,
    )


def best(points: Sequence[Point], *, maximises: bool) -> Point | None:
    """The point with the best value, the lower rate on ties; None where none has a value."""
    sign = -1.0 if maximises else 1.0
    able = [(sign * p.value, p.lr, i) for i, p in enumerate(points) if p.value is not None]
    return points[min(able)[2]] if able else None


def next_rate(points: Sequence[Point], *, maximises: bool) -> float | None:
    """The next rate beyond the edge where the best is the lowest or highest; None where it lies between others.

    The step equals that between the edge and its neighbour. Where no rate has a value, all were too high.
    """
    rates = sorted(p.lr for p in points)
    found = best(points, maximises=maximises)
    if found is None or found.lr == rates[0]:
        return round_rate(rates[0] * rates[0] / rates[1])
    return round_rate(rates[-1] * rates[-1] / rates[-2]) if found.lr == rates[-1] else None


def round_rate(lr: float) -> float:
    """Round a rate to six digits."""
    return float(f"{lr:.6g}")


def configured_lr(params: Mapping[str, object]) -> float:
    """The configured learning rate of an arm.

    Raises:
        ConfigError: for an optimiser without one.
    """
    found = params.get(LR)
    if isinstance(found, bool) or not isinstance(found, (int, float)) or found <= 0:
        raise ConfigError("study.tune_lr", True, f"needs a number above 0 as {LR}, which here is {found}")
    return float(found)


def check(settings: StudySettings, searched: Sequence[str]) -> None:
    """Raises ConfigError where the learning rate is searched already, or the sweep has fewer than two rates."""
    if not settings.tune_lr:
        return
    if LR in searched:
        raise ConfigError("study.tune_lr", True, f"finds {LR} by itself, which is searched here; leave one of them out")
    if len(set(settings.lr_factors)) < 2:
        raise ConfigError("study.lr_factors", list(settings.lr_factors), "a sweep needs at least two different factors")


def seed(first: int, replicas: int) -> int:
    """The seed of all sweeps of a study; no replica of it, or of a study with more replicas, has the same one."""
    from initlab.core import seeds  # brings torch

    return first + replicas + 1000 + seeds.derive(first, "tune_lr") % 1_000_000


def metric(of: str) -> str:
    """The metric that a rate is chosen by, in a study with the metric `of`."""
    return f"val/{of.removeprefix('test/')}" if of.startswith("test/") else of
