"""Target of `trainer.until`: a metric, a comparison and a value, such as ``train/loss<=0.28``."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from initlab.errors import ConfigError, one_of

_TEXT = re.compile(r"\s*([^\s<>=]+)\s*(<=|>=)\s*(\S+)\s*")
#: metrics of a run that reached its target: updates and epochs that it took
UNTIL_STEP, UNTIL_EPOCH = "until/step", "until/epoch"
_KEY = "trainer.until"


@dataclass(frozen=True, kw_only=True)
class Target:
    """A value that a recorded metric is to reach.

    Attributes:
        metric: key of a training or validation record, such as ``val/accuracy``.
        operator: on which side of `value` the metric has reached it.
        value: a finite number.
    """

    metric: str
    operator: Literal["<=", ">="]
    value: float

    @classmethod
    def parse(cls, text: str) -> Target:
        """The target that `text` names.

        Raises:
            ConfigError: the text is not METRIC<=NUMBER or METRIC>=NUMBER.

        Example:
            >>> str(Target.parse("val/accuracy >= 0.90"))
            'val/accuracy>=0.9'
        """
        found = _TEXT.fullmatch(text)
        if found is not None:
            try:
                value = float(found[3])
            except ValueError:
                value = math.nan
            if math.isfinite(value):
                return cls(metric=found[1], operator="<=" if found[2] == "<=" else ">=", value=value)
        example = "train/loss<=0.28 or val/accuracy>=0.9"
        raise ConfigError(_KEY, text, f"must be null, or a metric, <= or >=, and a number, such as {example}")

    def require_metric(self, metrics: Iterable[str]) -> None:
        """Raise ConfigError where the metric is none of `metrics`, which a run records."""
        known = tuple(metrics)
        if self.metric not in known:
            raise ConfigError(
                _KEY, str(self), f"{self.metric} is not recorded in training; {one_of(known, self.metric)}"
            )

    def is_reached(self, metrics: Mapping[str, float]) -> bool:
        """Whether a record with these metrics reaches the target; False where it does not have the metric."""
        found = metrics.get(self.metric)
        if found is None:
            return False
        return found <= self.value if self.operator == "<=" else found >= self.value

    def __str__(self) -> str:
        short = f"{self.value:g}"
        return f"{self.metric}{self.operator}{short if float(short) == self.value else repr(self.value)}"
