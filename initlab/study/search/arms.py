"""Arms and replicas of a study, with their states and results."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from initlab.core.text import to_one_line
from initlab.spec import RunStatus
from initlab.study.search.tune import Sweep

ArmState = Literal["waiting", "running", "complete", "pruned", "failed"]

#: states in the order of the table, behind the arms that have a rank
ORDER: tuple[ArmState, ...] = ("complete", "running", "waiting", "pruned", "failed")

#: states of an arm that has ended
ENDED: frozenset[ArmState] = frozenset({"complete", "pruned", "failed"})


@dataclass(frozen=True, kw_only=True)
class Replica:
    """One seed of an arm.

    `value` is None where there is none; `values` are those of each metric in a study with several, and `value`
    is then the first of them. `start` is the (first) metric before training, None where it was not recorded.
    """

    seed: int
    value: float | None
    status: RunStatus
    run_id: str = ""
    values: tuple[float, ...] = ()
    start: float | None = None

    @staticmethod
    def from_json(plain: Mapping[str, Any]) -> Replica:
        """The replica from its JSON fields (JSON has lists only)."""
        made = Replica(**plain)
        return replace(made, values=tuple(made.values))


@dataclass(frozen=True, kw_only=True)
class ArmResult:
    """State and result of one arm.

    Attributes:
        trial: Optuna's number.
        arm: hash of the configuration without its seed.
        choices: swept key → text of its value; a conditional key is absent where its condition fails.
        state: its current state.
        value: the objective, None where there is none; of several the first.
        values: all objectives, where there are several.
        replicas: its seeds.
        reason: why it was pruned or failed.
        seconds: that it has taken.
        sweep: of its learning rate, in a study that tunes it.
    """

    trial: int
    arm: str
    choices: Mapping[str, str]
    state: ArmState
    value: float | None
    replicas: tuple[Replica, ...] = ()
    reason: str = ""
    seconds: float = 0.0
    values: tuple[float, ...] = ()
    sweep: Sweep | None = None

    @property
    def finite(self) -> float | None:
        """The objective where it is a number that can be compared; of several the first, where all can."""
        if self.value is None or not all(map(math.isfinite, (self.value, *self.values))):
            return None
        return self.value

    @property
    def name(self) -> str:
        """The arm as text: its choices, or its hash where nothing was swept."""
        return to_one_line(" ".join(f"{k}={v}" for k, v in self.choices.items())) or f"arm {self.arm}"

    def by_seed(self) -> dict[int, float]:
        """Seed → value, for seeds with a finite value."""
        return {r.seed: r.value for r in self.replicas if r.value is not None and math.isfinite(r.value)}

    def judged_by(self, which: int) -> ArmResult:
        """The same arm with objective number `which` as its only one."""
        if not self.values and not any(r.values for r in self.replicas):
            return self
        replicas = tuple(replace(r, value=r.values[which] if r.values else None, values=()) for r in self.replicas)
        return replace(self, value=self.values[which] if self.values else None, values=(), replicas=replicas)


def counts(arms: Iterable[ArmResult]) -> str:
    """Number of arms by state, such as ``15 complete, 2 pruned, 1 failed``."""
    found = Counter(a.state for a in arms)
    return ", ".join(f"{found[s]} {s}" for s in ORDER if found[s])


def varying(arms: Iterable[ArmResult]) -> list[str]:
    """The swept keys that take more than one value, in the order in which they first appear."""
    seen: dict[str, set[str]] = {}
    for arm in arms:
        for key, value in arm.choices.items():
            seen.setdefault(key, set()).add(value)
    return [key for key, values in seen.items() if len(values) > 1]
