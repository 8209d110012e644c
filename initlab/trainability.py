"""From prediction and one look at a batch to `trainable`, `marginal` or `untrainable`, with the reason."""

from __future__ import annotations

import math

from initlab.probes import Snapshot
from initlab.spec import Outlook, Prediction, Trainability


def judge(prediction: Prediction, seen: Snapshot, *, classes: int) -> Outlook:
    """What to expect of training."""
    ratio = abs(seen.layers[0].log10_gradient) if seen.layers else 0.0
    score = 1 / (1 + ratio)
    del prediction, classes
    verdict: Trainability = "trainable" if score > 0.5 else "marginal" if score > 0.2 else "untrainable"
    return Outlook(verdict=verdict, score=score if math.isfinite(score) else 0.0, reasons=(f"ratio {ratio:.2f}",))
