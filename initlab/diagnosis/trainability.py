"""Scores trainability before training: `trainable`, `marginal` or `untrainable`, with reasons.

Depth harms training in three ways, and each has a natural unit in which 1 is the limit:

- the gradient: |ln(‖∂E/∂h‖² first / last layer)| / 6, as measured;
- the depth: hidden layers / (6 ξ), as predicted, with ξ = 1/|ln χ| of the gradient (Schoenholz et al., ICLR 2017, found
  networks to train to about 6 ξ_c, which is the same in the ordered phase);
- the information: ln(1/CKA) between the inputs and the last hidden layer, the loss of similarity between examples.

In recurrent networks a fourth part is added, in the unit of the first: the growth of the gradient backwards through
time. A gradient that vanishes is no risk in itself: gates learn to remember, and near steps are enough for many tasks
(docs/results.md).

The sum is the risk r. Where the optimiser, its rate and the number of updates are known, the score is the probability
that such a run trains (`probability.py`). Where they are not, it is 1/(1 + (r/MIDDLE)^POWER), which ranks plain
networks by what depth does to them and knows nothing of the rate (docs/predictor.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from initlab.diagnosis.probability import probability, quantities
from initlab.probes import FirstUpdate, Snapshot
from initlab.spec import Outlook, Prediction, Trainability

#: from risk to score: the risk at which half of the networks train, and how sharply it turns; fitted on plain networks
#: with six activations and one optimiser
MIDDLE, POWER = 3.67, 6.19
#: scores of the risk between these are marginal
TRAINABLE, UNTRAINABLE = 0.75, 0.25
#: probabilities between these are marginal: of the runs that did not train, at most 3 % shall be called trainable
PROBABLE, IMPROBABLE = 0.9, 0.15
#: a loss so far above ln C before the first step means that the head's scale is off, not that the network cannot train
LARGE_LOSS_FACTOR = 3.0
#: the reason of an outlook where nothing is wrong
NOTHING_WRONG = "no vanishing or exploding gradient expected"
#: of reasons: an update of more than a tenth of its weight is large (Karpathy, 2015); updates that move weights by less
#: than a tenth of their size in all, or the loss by less than a third to first order, are few or small
LARGE_UPDATE, SMALL_PATH, SMALL_GAIN = 0.1, 0.1, 1 / 3


@dataclass(frozen=True)
class Risk:
    """Parts of the risk; each is 0 for a network whose signal and gradient do not change with depth and time."""

    gradient: float
    depth: float
    information: float
    time: float = 0.0

    @property
    def total(self) -> float:
        parts = (self.gradient, self.depth, self.information, self.time)
        return math.inf if any(math.isnan(p) for p in parts) else sum(parts)


def risk(prediction: Prediction, seen: Snapshot, lag_peak: float = 1.0) -> Risk:
    """Risk of gradient, depth and information.

    Where theory has no single depth scale (shortcuts, norms) the measured gradient stands in for it too. A loss that is
    not finite tells nothing of the examples, however well the layers before it are.
    """
    # a norm, where the others are squares
    time = max(0.0, math.log(lag_peak)) / 3 if 0 < lag_peak < math.inf else math.inf
    if not seen.layers:  # a linear classifier, or one with recurrent layers alone
        return Risk(0.0, 0.0, 0.0 if math.isfinite(seen.loss) else math.inf, time)
    log10 = seen.layers[0].log10_gradient
    gradient = abs(log10) * math.log(10) / 6 if math.isfinite(log10) else math.inf
    depth = gradient
    if not math.isnan(prediction.gradient_depth):
        depth = prediction.depth / prediction.gradient_depth if prediction.gradient_depth > 0 else math.inf
    kept = 1.0 if math.isnan(seen.kept) else seen.kept  # tokens
    information = -math.log(kept) if 0 < kept < math.inf and math.isfinite(seen.loss) else math.inf
    return Risk(gradient, depth, max(information, 0.0), time)


def judge(
    prediction: Prediction, seen: Snapshot, *, untrained_loss: float, lag_peak: float = 1.0,
    first: FirstUpdate | None = None, later: Snapshot | None = None, updates: int = 0,
) -> Outlook:  # fmt: skip
    """Predicts trainability, with the run's optimiser and number of updates where they are known.

    Args:
        prediction: of theory, for the network as initialised.
        seen: the same network on one batch.
        untrained_loss: of a network that says nothing of its input, ln C of a classifier; one far above it is told.
        lag_peak: of a recurrent network: the largest factor by which the gradient of a last state grows back in time.
        first: what the optimiser's first update would do; None where no optimiser is known.
        later: of a network of which parts begin at zero, the measurement once these have moved; `first` is of then too.
        updates: of the run; without `first` it is not used.
    """
    parts = risk(prediction, seen, lag_peak)
    known: dict[str, float] = {}
    if first is None:
        score = score_of(parts.total)
        verdict = verdict_of(score)
    else:
        known = quantities(parts, later or seen, first, updates=updates, untrained_loss=untrained_loss)
        score = probability(known) if math.isfinite(seen.loss) else 0.0
        verdict = verdict_of_probability(score)
    # of a network that will train only what is large is worth a word
    worth_telling = 1.0 if verdict == "trainable" else 0.5
    reasons = _reasons(parts, prediction, seen, untrained_loss, worth_telling)
    if not reasons and first is not None and verdict != "trainable":
        reasons = _reasons_of_update(first, updates)
    return Outlook(
        verdict=verdict,
        score=score,
        reasons=reasons or (NOTHING_WRONG,),
        quantities=known,
    )


def score_of(total: float) -> float:
    """Share of networks of this risk that train, between 0 and 1."""
    return 1 / (1 + min((total / MIDDLE) ** POWER, 1e300))


def verdict_of(score: float, high: float = TRAINABLE, low: float = UNTRAINABLE) -> Trainability:
    """The score in one word: trainable from `high` on, untrainable up to `low`."""
    return "trainable" if score >= high else "marginal" if score > low else "untrainable"


def verdict_of_probability(probability: float) -> Trainability:
    """The probability in one word. It is rounded to two digits first, as it is printed, so that both agree.

    Example:
        >>> verdict_of_probability(0.1549), verdict_of_probability(0.156)
        ('untrainable', 'marginal')
    """
    return verdict_of(round(probability, 2), PROBABLE, IMPROBABLE)


def _reasons(
    parts: Risk, prediction: Prediction, seen: Snapshot, untrained_loss: float, threshold: float
) -> tuple[str, ...]:
    if not math.isfinite(seen.loss):
        return (f"the loss is {seen.loss} before the first step: the signal explodes",)
    weighed: list[tuple[float, str]] = []
    if seen.layers:
        log10 = seen.layers[0].log10_gradient
        if math.isnan(log10):
            text = "no gradient reaches the first hidden layer, or it is not finite"
        else:
            word = "vanishes" if log10 < 0 else "explodes"
            text = f"the gradient {word} from the last hidden layer to the first, ‖∂E/∂h‖² by 10^{abs(log10):.1f}"
        weighed.append((parts.gradient, text))
        limit = prediction.gradient_depth
        if not math.isnan(limit):
            text = f"{prediction.depth} hidden layers, theory allows about 6ξ = {limit:.3g}"
            weighed.append((parts.depth, text))
        if not math.isnan(seen.kept):
            alike = seen.layers[-1].c
            how = "all inputs become alike" if alike > 0.9 else "distances between inputs are scrambled"
            text = f"{how} by the last hidden layer (alignment with the inputs {seen.kept:.2f})"
            weighed.append((parts.information, text))
    growth = "is not finite" if parts.time == math.inf else f"grows {math.exp(3 * parts.time):.1e}-fold"
    weighed.append((parts.time, f"the gradient {growth} backwards through time"))
    found = [text for weight, text in sorted(weighed, key=lambda w: -w[0]) if weight > threshold]
    if untrained_loss > 0 and seen.loss > LARGE_LOSS_FACTOR * untrained_loss:
        found.append(f"the loss before training is {seen.loss:.3g}; guessing gives {untrained_loss:.2f}")
    return tuple(found)


def _reasons_of_update(first: FirstUpdate, updates: int) -> tuple[str, ...]:
    """Why a network whose signal and gradient survive depth does not look as if it trained."""
    _, moved, most = first.moved
    found: list[str] = []
    if most > LARGE_UPDATE:
        found.append(f"an update changes a weight by {most:.2g} of its size: the rate is large")
    elif moved * updates < SMALL_PATH:
        found.append(f"{updates} updates at this rate move the weights by about {moved * updates:.1g} of their size")
    gain = first.learned * updates / first.loss if first.loss > 0 else 1.0
    if gain < SMALL_GAIN:
        share = max(0.0, gain)
        found.append(f"{updates} such updates would lower the loss by {share:.1%} by what inputs say of the answers")
    return tuple(found) or ("runs with a first update like this one trained in part only",)
