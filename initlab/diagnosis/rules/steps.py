"""Rules for the updates: their size, their number, divergence, and weight decay."""

from __future__ import annotations

import math
from statistics import median

from initlab.diagnosis.remedies import (
    better_init,
    clipping,
    lr_for,
    more_updates,
    no_clipping,
    no_decay,
    numeric_parameter,
    smaller_lr,
)
from initlab.diagnosis.rules.bounds import (
    CHANCE_LOSS,
    DECAYED,
    FEW_STEPS,
    HARDLY_MOVED,
    UPDATE_LARGE,
    UPDATE_SMALL,
    UPDATE_USUAL,
    UPDATE_USUAL_OF_TRANSFORMERS,
)
from initlab.diagnosis.rules.evidence import FIRST, Evidence
from initlab.diagnosis.rules.outcome import has_learned_well, has_not_learned
from initlab.spec import Finding, Remedy, Severity


def update_size(e: Evidence) -> Finding | None:
    """Size of the updates relative to the weights, ‖ΔW‖/‖W‖: too large or too small a learning rate."""
    # a weight that is zero has no ratio and is recorded as 0, which does not mean that it does not move
    zero = {(r.site, r.step) for r in e.rows("weight_norm") if r.value == 0.0}
    ratios = [
        r.value
        for r in e.rows("update_ratio")
        if r.step >= 5 and math.isfinite(r.value) and (r.site, r.step) not in zero
    ]
    middle = median(ratios) if len(ratios) >= 2 else None
    first = e.first_update_ratios()
    end = e.last_value("val/loss")
    # a loss above that of a constant answer is a failure, whatever the accuracy is
    worse = end is not None and not end <= e.baseline.constant
    severity: Severity = "failure" if has_not_learned(e) or worse else "warning"
    # weight decay alone adds ηλ to the first update: where that is most of it, the learning rate is not the cause
    decay = (numeric_parameter(e.params, "optimizer.lr") or 0.0) * (
        numeric_parameter(e.params, "optimizer.weight_decay") or 0.0
    )
    large = first is not None and (not first[0] <= 1 or not first[1] <= UPDATE_LARGE)
    if first is not None and large and not decay > 0.5 * first[0]:
        return Finding(
            name="updates_too_large",
            severity=severity,
            evidence=f"the first update is {first[0]:.1e} of its weight, the first {FIRST} in the median {first[1]:.1e}"
            f" (customary: about {_usual(e):g})",
            source="‖ΔW‖/‖W‖ ≈ 1e-3 (Karpathy, 2015); an update as large as its weight forgets the weight",
            remedies=_by_rate(e, first[0], limit=0.1),
        )
    if middle is None or UPDATE_SMALL <= middle <= UPDATE_LARGE:
        return None
    small = middle < UPDATE_SMALL
    return Finding(
        name="updates_too_small" if small else "updates_too_large",
        severity=severity,
        evidence=f"the median update is {middle:.1e} of its weight (customary: about {_usual(e):g})",
        source="‖ΔW‖/‖W‖ ≈ 1e-3 (Karpathy, 2015)",
        remedies=(*(_unclipped(e) if small else ()), *_by_rate(e, middle, limit=10.0 if small else 0.1)),
    )


def diverged(e: Evidence) -> Finding | None:
    if e.diverged_step is None:
        return None
    return Finding(
        name="diverged",
        severity="failure",
        evidence=f"the loss was not finite at step {e.diverged_step}",
        source="a learning rate above 2/λ_max of the Hessian diverges (LeCun et al., 1998)",
        remedies=(smaller_lr(e.params), *clipping(e.params), *better_init(e.params)),
    )


def decayed_weights(e: Evidence) -> Finding | None:
    """Weight decay shrinks the weights faster than the loss gradient restores them."""
    decay = numeric_parameter(e.params, "optimizer.weight_decay")
    start, end = e.at_start("weight_norm"), e.at_end("weight_norm")
    left = {s: end[s] / start[s] for s in e.hidden if start.get(s, 0.0) > 0 and math.isfinite(end.get(s, math.nan))}
    if not decay or not left or e.diverged_step is not None:
        return None
    middle = median(left.values())
    if middle >= DECAYED:
        return None
    site = min(left, key=lambda s: left[s])
    return Finding(
        name="decayed_weights",
        severity="failure" if has_not_learned(e) else "warning",
        evidence=f"with a decay of {decay:g} the weights' norm fell to {middle:.2g} of what it was (median over"
        f" {len(left)} layers; {site}: {start[site]:.3g} → {end[site]:.3g} by update {e.last_step('weight_norm')})",
        source="decay multiplies a weight by 1 - ηλ in every update (Loshchilov & Hutter, ICLR 2019)",
        remedies=no_decay(e.params),
    )


def few_updates(e: Evidence) -> Finding | None:
    """Too few updates for their size: the weights are still close to their initial values."""
    if e.steps == 0 or e.diverged_step is not None:
        return None
    ratios = [r.value for r in e.rows("update_ratio") if r.site and math.isfinite(r.value) and r.value > 0]
    size = median(ratios) if ratios else None
    loss = e.last_value("val/loss")
    unlearned = has_not_learned(e) or loss is None or loss > CHANCE_LOSS * e.baseline.constant
    # ten updates are no training, whatever they reach, unless the run is good already
    short = e.steps < FEW_STEPS and not has_learned_well(e)
    still = loss is not None and size is not None and e.steps * size < HARDLY_MOVED and unlearned
    by_size = update_size(e)
    if not (short or still) or (by_size is not None and by_size.name == "updates_too_small"):
        return None
    moved = "" if size is None else f" of {size:.1e} of their weight: in total a weight moved by {e.steps * size:.0%}"
    # where the updates are tiny as well, the rate comes first: ten times as many of them would not do
    rate = _by_rate(e, size, limit=10.0) if size is not None and size < UPDATE_USUAL / 10 else ()
    return Finding(
        name="few_updates",
        severity="failure" if has_not_learned(e) else "warning",
        evidence=f"{e.steps} updates{moved}{' of its norm at most' if moved else ''}",
        source=f"a hundred updates of the customary 1e-3 move a weight by {HARDLY_MOVED:.0%} (Karpathy, 2015)",
        remedies=(*rate, *more_updates(e.params)),
    )


def _by_rate(e: Evidence, ratio: float, *, limit: float) -> tuple[Remedy, ...]:
    """Remedy: the learning rate at which an update of `ratio` would have the usual size (updates scale with the rate).

    Args:
        limit: smallest factor of the change.
    """
    usable = math.isfinite(ratio) and ratio > 0
    factor = _usual(e) / ratio if usable else limit
    factor = max(factor, limit) if limit > 1 else min(factor, limit)
    return lr_for(e.params, factor)


def _usual(e: Evidence) -> float:
    """Size of an update over its weight's that is customary at the start."""
    return UPDATE_USUAL_OF_TRANSFORMERS if e.rows("attention_entropy") else UPDATE_USUAL


def _unclipped(e: Evidence) -> tuple[Remedy, ...]:
    """Remedy: no clipping, where it reduces every gradient to a hundredth or less (then the rate is not the cause)."""
    clip = numeric_parameter(e.params, "trainer.clip_grad_norm")
    norms = [r.value for r in e.rows("grad_norm", "") if math.isfinite(r.value)]
    return no_clipping() if clip is not None and norms and clip < 0.01 * median(norms) else ()
