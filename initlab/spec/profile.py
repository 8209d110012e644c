"""Types of a run's measurements: records of metrics, profile rows, histograms, interpretation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Record:
    """Metrics of one step by key. Values are finite; keys with non-finite values are listed in `nonfinite`.

    `serial` counts the records of a run from 0, so that a resumed run does not write a record twice.
    """

    serial: int
    step: int
    epoch: float
    time_ms: int
    metrics: Mapping[str, float]
    nonfinite: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ProfileRow:
    """One statistic of one site at one step. Together the rows of a run are its profile.

    `position` is a step of time or a time lag, for statistics that have one; -1 elsewhere.
    """

    step: int
    site: str
    order: int
    statistic: str
    value: float
    position: int = -1


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Counts of values in equal bins between `low` and `high`, of `quantity` at `site` and `moment`."""

    moment: Literal["init", "end"]
    quantity: Literal["weight", "activation"]
    site: str
    order: int
    low: float
    high: float
    counts: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Profile:
    """All measurements of a run: `rows` and `histograms` of the probes, `curves` of metrics (key → (step, value)s)."""

    rows: tuple[ProfileRow, ...] = ()
    histograms: tuple[Histogram, ...] = ()
    curves: Mapping[str, tuple[tuple[int, float], ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class LinearProbe:
    """Accuracy of a linear classifier on a layer's output.

    Attributes:
        site: whose output, after its activation; empty for the input itself.
        order: of the site in the forward pass, -1 for the input.
        moment: of the network.
        accuracy: on validation examples; by_class: the recall of each class.
    """

    site: str
    order: int
    moment: Literal["init", "end"]
    accuracy: float
    by_class: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class UnitActivity:
    """A unit (or channel) of a layer: mean of |what it sends on|, and the share of examples for which that is not 0."""

    site: str
    unit: int
    mean: float
    active: float


@dataclass(frozen=True, kw_only=True)
class Interpretation:
    """Interpretation of a trained network: filters, weight distances, linear probes, unit activity, loss path.

    Attributes:
        filters: weights of the first layer as images (units, channels, height, width), None where they are none.
        travelled: site → (‖W - W₀‖ / ‖W₀‖, cosine of W and W₀).
        linear: probes by layer, at the start and at the end; empty where there is no one answer an example.
        units: of each layer the most and the least active.
        path: (α, loss, accuracy) on validation examples at W₀ + α (W - W₀).
    """

    filters: Tensor | None = None
    travelled: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    linear: tuple[LinearProbe, ...] = ()
    units: tuple[UnitActivity, ...] = ()
    path: tuple[tuple[float, float, float], ...] = ()
