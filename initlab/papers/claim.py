"""The `Claim` type: what a paper says, the runs that test it, and the checks that decide."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Bound = Literal["above", "below", "near"]
FigureKind = Literal["curves", "lines", "bars", "grid"]
#: claims are judged on the seeds from here on: sizes, rates and bounds of initlab's own were chosen on the first ten
FIRST_SEED = 100
#: a claim is judged with so many seeds at least, where its experiment does not say more
SEEDS = 5


@dataclass(frozen=True, kw_only=True)
class Part:
    """Arms that are trained or measured together.

    Attributes:
        name: within the claim.
        overrides: of a study: what is typed behind `-m experiment=papers/NAME`; keys with several values are its space.
        measure: name of a measurement at initialisation, of `initlab.papers.measures`; empty for a study.
        arms: of a measurement: the overrides of each arm.
        settings: arguments of the measurement.
    """

    name: str
    overrides: tuple[str, ...] = ()
    measure: str = ""
    arms: tuple[tuple[str, ...], ...] = ()
    settings: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Check:
    """A statement about a number, which an interval over seeds confirms, refutes, or leaves open.

    Attributes:
        metric: of the runs, or of the measurement.
        arm: the arm it is about, as ``init=he model.depth=30``.
        minus: another arm whose value is subtracted, seed by seed.
        over: another arm by whose value it is divided, seed by seed.
        slope: key, such as model.depth: the number is the slope of log(metric) over log(key) among the arms that `arm`
            names.
        best: key, such as optimizer.lr: the number is the value of the key at which the metric is best among the arms.
        at_best: key: the number is the metric at the best value of the key among the arms.
        bound: ``above`` or ``below`` `value`, or ``near`` it.
        value: the bound; the middle where `bound` is ``near``.
        within: distance from the middle that is allowed.
        part: the part of the claim whose arms are meant; empty for all.
        says: in words, for the table; empty for what the fields say.
    """

    metric: str
    arm: str
    minus: str = ""
    over: str = ""
    slope: str = ""
    best: str = ""
    at_best: str = ""
    bound: Bound
    value: float
    within: float = math.nan
    part: str = ""
    says: str = ""

    @property
    def expected(self) -> str:
        """The bound in words."""
        if self.bound == "near":
            return f"{self.value:g} ± {self.within:g}"
        return f"{self.bound} {self.value:g}"

    @property
    def subject(self) -> str:
        """What is measured, in words."""
        if self.says:
            return self.says
        metric = f"{self.best} with the best {self.metric}" if self.best else self.metric
        metric += f" at the best {self.at_best}" if self.at_best else ""
        if self.slope:
            return f"slope of log {metric} over log {self.slope}, {self.arm or 'all arms'}"
        other = f" minus {self.minus}" if self.minus else f" over {self.over}" if self.over else ""
        return f"{metric} of {self.arm or 'the arm'}{other}"


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """The figure of a claim.

    Attributes:
        kind: ``curves`` of a metric over updates, ``lines`` over a key, ``bars``, or a ``grid`` of two keys.
        metric: that is drawn.
        x: key of the horizontal axis, of lines and grids.
        y: key of the vertical axis of a grid.
        by: keys that tell the lines or bars apart; empty for what varies.
        log: axes that are logarithmic: "", "x", "y" or "xy".
        part: whose arms are drawn; empty for all.
        at_best: key, such as optimizer.lr: of arms that differ in it alone the best is drawn, for each seed.
        border: of a grid, value of x → y at which a line is drawn, such as one that the paper predicts.
        reading: how to read it.
    """

    kind: FigureKind
    metric: str
    x: str = ""
    y: str = ""
    by: tuple[str, ...] = ()
    log: str = ""
    part: str = ""
    at_best: str = ""
    border: Mapping[float, float] = field(default_factory=dict)
    reading: str = ""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim of a paper and how it is tested.

    Attributes:
        name: of the file.
        says: the claim in one sentence.
        paper: authors, year, title, identifier.
        section: where it is said.
        differs: how the configuration here differs in scale from the paper's.
        reason: why it does not reproduce, where that is known; shown with such a verdict.
        parts: studies and measurements.
        checks: which all must hold.
        figure: one, None for none.
        quick: overrides that make its studies smaller, for `--quick`; None leaves the claim out there.
        seeds: of each arm.
        seconds: it takes about so long, on one core.
    """

    name: str
    says: str
    paper: str
    section: str
    differs: str
    reason: str = ""
    parts: tuple[Part, ...]
    checks: tuple[Check, ...]
    figure: Drawing | None = None
    quick: tuple[str, ...] | None = ()
    seeds: int = SEEDS
    seconds: float = 60.0

    @property
    def metrics(self) -> frozenset[str]:
        """Metrics that its checks and its figure read."""
        drawn = {self.figure.metric} if self.figure is not None else set[str]()
        return frozenset({c.metric for c in self.checks} | drawn)

    @property
    def keys(self) -> frozenset[str]:
        """Configuration keys by which its arms are told apart."""
        words = [w for c in self.checks for text in (c.arm, c.minus, c.over) for w in text.split()]
        figure = self.figure
        drawn = [] if figure is None else [figure.x, figure.y, figure.at_best, *figure.by]
        named = [w.partition("=")[0] for w in words] + drawn
        named += [k for c in self.checks for k in (c.slope, c.best, c.at_best)]
        typed = [
            o.lstrip("+").partition("=")[0] for p in self.parts for o in (*p.overrides, *(x for a in p.arms for x in a))
        ]
        return frozenset(k for k in [*named, *typed] if k)
