"""The metric that arms are compared by: its direction, unit, bounds and learning curve."""

from __future__ import annotations

import difflib
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from initlab import tracking
from initlab.compare.ending import ending_of
from initlab.errors import ConfigError
from initlab.spec import CompareSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from initlab.tracking import Found, RunRecord

    Floats = NDArray[np.float64]

#: metrics that an error message lists; metrics of single layers would make it very long
_NAMED = ("train/", "val/", "test/", "diag/", "throughput/", "episode/")
Direction = Literal["maximize", "minimize"]
#: scores in the order of preference
_SCORES = ("accuracy", "bits_per_char", "perplexity", "loss")
#: ends of the names of metrics of which less is better
LESS = ("loss", "perplexity", "bits_per_char", "seconds", "steps", "parameters", "until/step", "until/epoch")


@dataclass(frozen=True, kw_only=True)
class Metric:
    """The metric that arms are compared by, its direction, and its learning curve ("" for none)."""

    metric: str
    direction: Direction
    curve: str

    @property
    def sign(self) -> float:
        """1 or -1: the metric times this is better where it is larger."""
        return 1.0 if self.direction == "maximize" else -1.0

    @property
    def bounds(self) -> tuple[float, float]:
        """Lower and upper bound of the metric."""
        if self.metric.endswith("accuracy") or "/recall/" in self.metric:
            return 0.0, 1.0
        return (0.0 if self.metric.endswith(LESS) else -math.inf), math.inf


def choose_metric(
    runs: Sequence[RunRecord], settings: CompareSettings, *, metric: str = "", direction: str = ""
) -> Metric:
    """Choose the metric that these runs are compared by.

    Args:
        runs: of one task.
        settings: may name metric and direction.
        metric: of the study, "" where there is none.
        direction: of the study.

    Raises:
        ConfigError: a metric that no run has (lists those that they have), or a direction that cannot be inferred.
    """
    ended = [r for r in runs if ending_of(r) == "finished"] or list(runs)
    counts = Counter(k for r in ended for k in r.metrics)
    asked = settings.metric if settings.metric != "auto" else metric
    if not asked:
        scores = [f"{part}/{s}" for part in ("test", "val") for s in _SCORES]
        whole = [k for k in scores if counts[k] == len(ended)]
        asked = next(iter(whole or [k for k in scores if counts[k]]), "")
        if not asked:
            raise ConfigError(
                "compare.metric", "auto", f"no run has a score of the test or validation part{_list_metrics(counts)}"
            )
    if not counts[asked]:
        near = difflib.get_close_matches(asked, counts, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise ConfigError("compare.metric", asked, f"no run has it{hint}{_list_metrics(counts)}")
    way = settings.direction if settings.direction != "auto" else direction if asked == metric else ""
    return Metric(metric=asked, direction=_direction(asked, way), curve=curve_of(asked))


def _direction(metric: str, given: str) -> Direction:
    if given in ("minimize", "maximize"):
        return "minimize" if given == "minimize" else "maximize"
    if metric.endswith(LESS):
        return "minimize"
    if metric.startswith(("train/", "val/", "test/", "throughput/", "episode/")):
        return "maximize"
    raise ConfigError("compare.direction", "auto", f"whether more of {metric} is better, say by maximize or minimize")


def curve_of(metric: str) -> str:
    """The metric of the learning curve that belongs to a metric: of the validation part for a score; "" for none."""
    part, _, score = metric.partition("/")
    return f"val/{score}" if part in ("test", "val") else metric if part == "train" else ""


def _list_metrics(counts: Mapping[str, int]) -> str:
    keys = sorted(k for k, n in counts.items() if n and k.startswith(_NAMED)) or sorted(counts)[:40]
    return f"; they have {', '.join(keys)}" if keys else "; they have no metrics at all"


def study_metric(found: Found, parents: Sequence[RunRecord], *, workdir: Path) -> tuple[str, str]:
    """The first metric of the studies and its direction, where they agree; "" where none is recorded."""
    metrics = {p.params.get("metric", "").split(", ")[0] for p in parents}
    if len(metrics) != 1:
        return "", ""
    plain: Mapping[str, object] = {}
    with suppress(ValueError):
        plain = json.loads(tracking.read_artifact(found, parents[0], "study.json", workdir=workdir) or "{}")
    said = plain.get("direction", "")
    direction = said[0] if isinstance(said, list) and said else said
    return metrics.pop(), str(direction)
