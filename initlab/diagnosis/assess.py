"""Looks at a network before its first update: measurements, risk and outlook. The network is given back as it was."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from initlab.diagnosis import trainability
from initlab.diagnosis.tokens import judge_tokens, look_at_tokens
from initlab.probes import Snapshot, awakened, first_update, lag_peak, snapshot
from initlab.spec import InitContext, Outlook, Prediction, Site


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """What was measured before the first update, and the outlook.

    Attributes:
        seen: the network on one batch.
        risk: of depth, gradient, information and time; inf where a value was not finite.
        outlook: for the optimiser and the length of the run, where they are known.
    """

    seen: Snapshot
    risk: float
    outlook: Outlook

    @property
    def rank(self) -> float:
        """The lower, the better the prospects: log10 of the odds against training, else the risk.

        One unit is worth acting on in both: ten times the odds, or one more multiple of what depth allows.
        """
        return self.outlook.odds_against if self.outlook.calibrated else self.risk


def assess(
    model: nn.Module,
    sites: tuple[Site, ...],
    context: InitContext,
    prediction: Prediction,
    *,
    untrained_loss: float,
) -> Assessment:
    """Measure `model` on the first two batches of `context` and judge it.

    Args:
        context: with batches; its `training` decides whether the outlook is a probability.
        prediction: of theory, for the network as initialised.
        untrained_loss: loss of an answer that is independent of the input, in nats; NaN where unknown.
    """
    assert context.batches is not None
    seen, peak = snapshot(model, sites, context.batches(0), context), lag_peak(model, sites, context)
    first, later, training = None, seen, context.training
    if training is not None:
        with awakened(model, sites, context) as updates:
            if updates:
                later = snapshot(model, sites, context.batches(0), context)
            first = first_update(
                model, sites, context.batches, training.optimizer, clip=training.clip, seed=context.seed
            )  # fmt: skip
    outlook = trainability.judge(
        prediction, seen, untrained_loss=untrained_loss, lag_peak=peak, first=first, later=later,
        updates=training.updates if training is not None else 0,
    )  # fmt: skip
    outlook = judge_tokens(outlook, look_at_tokens(model, context.batches(0).inputs))
    return Assessment(seen=seen, risk=trainability.risk(prediction, seen, peak).total, outlook=outlook)
