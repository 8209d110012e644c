"""The `Evidence` that the diagnostic rules read, and values derived from it that several rules need."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from initlab.spec import Baseline, Profile, ProfileRow, Scalar

#: updates at the beginning, all of which the probes' usual schedule looks at
FIRST = 10


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Evidence that the diagnostic rules read.

    Attributes:
        profile: rows and curves of the run.
        hidden: names of the sites that an activation follows, first layer first.
        baseline: what is reached without looking at the input. answers: of the validation part.
        answer_per_step: whether a sequence is answered at every step, and not only at its end.
        flat_both_sides: whether the activation saturates towards both ends (tanh, sigmoid).
        params: the flattened configuration, to phrase remedies as overrides.
        branches: residual branches; norms: normalising layers.
        running_statistics: whether norms keep averages of training, which mean nothing before the first update.
        input_square: mean square of the prepared inputs, None where they are not numbers.
        equal_layers: a sentence for each set of layers that held the same numbers before training.
        loud_tables: a sentence for each tied embedding that was too large for logits before training.
        output_cut: the activation that cuts half of the answers off, directly before the loss; empty where none does.
    """

    profile: Profile
    hidden: tuple[str, ...]
    baseline: Baseline
    answers: int
    steps: int
    diverged_step: int | None
    flat_both_sides: bool
    answer_per_step: bool
    params: Mapping[str, Scalar]
    branches: int = 0
    norms: int = 0
    running_statistics: bool = False
    input_square: float | None = None
    output_cut: str = ""
    equal_layers: tuple[str, ...] = ()
    loud_tables: tuple[str, ...] = ()

    def rows(self, statistic: str, site: str | None = None) -> list[ProfileRow]:
        return [r for r in self.profile.rows if r.statistic == statistic and (site is None or r.site == site)]

    def at_start(self, statistic: str) -> dict[str, float]:
        """Site → value at the first probe step."""
        rows = self.rows(statistic)
        first = min((r.step for r in rows), default=0)
        return {r.site: r.value for r in rows if r.step == first}

    def at_end(self, statistic: str) -> dict[str, float]:
        """Site → value at the last probe step."""
        rows = self.rows(statistic)
        last = max((r.step for r in rows), default=0)
        return {r.site: r.value for r in rows if r.step == last}

    def at_start_by_step(self, statistic: str) -> dict[str, list[float]]:
        """Site → values by step of time at the first probe step."""
        return self._by_step(statistic, first=True)

    def at_end_by_step(self, statistic: str) -> dict[str, list[float]]:
        """Site → values by step of time at the last probe step."""
        return self._by_step(statistic, first=False)

    def _by_step(self, statistic: str, *, first: bool) -> dict[str, list[float]]:
        rows = self.rows(statistic)
        at = (min if first else max)((r.step for r in rows), default=0)
        found: dict[str, list[float]] = {}
        for r in rows:
            if r.step == at:
                found.setdefault(r.site, []).append(r.value)
        return found

    def last_value(self, key: str) -> float | None:
        curve = self.profile.curves.get(key)
        return curve[-1][1] if curve else None

    def last_step(self, statistic: str) -> int:
        """Update of the last probe step with this statistic."""
        return max((r.step for r in self.rows(statistic)), default=0)

    def initial_loss(self) -> float | None:
        """The validation loss before the first update, None where it was not measured or is not meaningful.

        A norm that keeps running averages is judged with them in validation, and before the first update they are not
        those of the network: the loss then says nothing of the weights.
        """
        loss = self.profile.curves.get("val/loss", ())
        return loss[0][1] if loss and loss[0][0] == 0 and not self.running_statistics else None

    def gradient_ratio(self) -> float | None:
        """Gradient norm at the first hidden layer divided by that at the last, at initialisation.

        None where there is none at step 0, as where the last layer stands in a branch that begins as nothing; what is
        seen a step later is then the branch waking, and not what depth does.
        """
        return next((r.value for r in self.rows("grad_ratio", "") if r.step == 0), None)

    def first_update_ratios(self) -> tuple[float, float] | None:
        """‖ΔW‖/‖W‖ of the first update, and of the first ten: medians over weights that are not zero at first.

        A weight that begins as zero (the end of a branch, a head) has no ratio to speak of. None where nobody looked.
        """
        zero = {s for s, v in self.at_start("weight_norm").items() if v == 0}
        rows = [r for r in self.rows("update_ratio") if r.site and r.site not in zero and r.step < FIRST]
        # what is not finite after the first step is the divergence itself
        known = [r for r in rows if not math.isnan(r.value)]
        first = [r.value for r in known if r.step == min(k.step for k in known)] if known else []
        return (median(first), median(r.value for r in known)) if first else None


def worst(values: Mapping[str, float]) -> float | None:
    """The largest value, NaN if any is NaN, None for no values."""
    found = [v for s, v in values.items() if s]
    return next((v for v in found if math.isnan(v)), max(found, default=None))


def list_names(names: list[str]) -> str:
    """The first names, and the number of further ones."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
