"""Types of the prediction before training: mean-field theory by layer, and the outlook."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class LayerPrediction:
    """Prediction of mean-field theory for one layer before training.

    Attributes:
        site: name of its weight; order: position in the forward pass.
        sigma_w2, sigma_b2: fan_in · E[W²] and E[b²], as drawn.
        q: mean square of the pre-activation h that reaches its activation; mean: its mean.
        c: correlation of two different inputs there.
        log10_gradient: log10 of ‖∂E/∂h‖² over that of the last hidden layer.
        saturated: share of h where |φ'| is below 5 % of its maximum.
        chi: factor of the squared gradient through this layer's activation and the weight before it.
    """

    site: str
    order: int
    sigma_w2: float
    sigma_b2: float
    q: float
    mean: float
    c: float
    log10_gradient: float
    saturated: float
    chi: float


Trainability = Literal["trainable", "marginal", "untrainable"]


@dataclass(frozen=True, kw_only=True, repr=False)
class Prediction:
    """Prediction of mean-field theory for a network before its first step.

    Attributes:
        layers: the hidden layers, first layer first.
        output_q: mean square of the network's output (the logits).
        depth: hidden layers in a row.
        trainable_depth: 6 ξ_c at the last layer; inf at criticality, NaN where the network has shortcuts or norms.
        gradient_depth: 6 ξ_∇ with ξ_∇ = 1/|ln χ| at the middle layer; inf and NaN likewise.
        log_q_sd: standard deviation of ln q at the last layer over draws of the weights, from finite width.
        born_dead: probability that a ReLU network of these widths is off for an input whatever its weights.
        stable: whether the signal's scale stays where it is; None where it is not one map repeated.
        out_of_scope: what the network does that the theory does not know; its effect was measured instead.
    """

    layers: tuple[LayerPrediction, ...]
    output_q: float
    depth: int
    trainable_depth: float
    gradient_depth: float
    log_q_sd: float
    born_dead: float
    stable: bool | None
    out_of_scope: tuple[str, ...] = ()

    def rows(self) -> list[dict[str, object]]:
        """A row for each hidden layer."""
        return [vars(r) for r in self.layers]

    def __repr__(self) -> str:
        unknown = f", not modelled: {', '.join(self.out_of_scope)}" if self.out_of_scope else ""
        layers = f"{self.depth} hidden layer{'' if self.depth == 1 else 's'}"
        return f"<prediction: {layers}, mean square of the output {self.output_q:.3g}{unknown}>"


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """Verdict before training: expected trainability with a score and reasons.

    Attributes:
        verdict: in one word.
        score: between 0 and 1, the higher the better; how well it ranks what happens is in docs/predictor.md.
        reasons: sentences with the evidence, the gravest first.
        quantities: from which the score is the probability that a run with this optimiser, rate and number of updates
            trains; empty where no optimiser is known, and the score only ranks.
    """

    verdict: Trainability
    score: float
    reasons: tuple[str, ...]
    quantities: Mapping[str, float] = field(default_factory=dict)

    @property
    def calibrated(self) -> bool:
        """Whether the score is a probability."""
        return bool(self.quantities)

    @property
    def odds_against(self) -> float:
        """Log10 of the odds that a run does not train, within ±9; only for a score that is a probability."""
        return math.log10((1 - self.score + 1e-9) / (self.score + 1e-9))

    @property
    def figure(self) -> str:
        """The score with its name: ``probability 0.93``, or ``score 0.93`` where it is none."""
        return f"{'probability' if self.calibrated else 'score'} {self.score:.2f}"
