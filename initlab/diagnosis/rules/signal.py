"""Rules for signal and gradient in the layers: vanishing, exploding, saturated, dead, symmetric units."""

from __future__ import annotations

from initlab.diagnosis.remedies import (
    architecture_changes,
    better_init,
    clipping,
    no_bias,
    scaled_branches,
    smaller_lr,
    smaller_recurrence,
)
from initlab.diagnosis.rules.bounds import (
    BORN_DEAD,
    DEAD_FAIL,
    DEAD_NOTE,
    DEAD_WARN,
    GRADIENT_RATIO_FAIL,
    GRADIENT_RATIO_WARN,
    INITIAL_LOSS_FACTOR,
    SATURATED_WARN,
    SIGNAL_RATIO_FAIL,
)
from initlab.diagnosis.rules.evidence import Evidence, list_names, worst
from initlab.spec import Finding, Remedy, Severity

_LEAK = Remedy(
    overrides=("activation=leaky_relu",), why="a slope below zero lets the gradient through a unit that is off"
)


def symmetric_units(e: Evidence) -> Finding | None:
    if e.steps == 0:
        return None
    # recurrent layers and a head that never left zero too: their units are then one unit as well
    same = [s for s, v in e.at_end("unit_spread").items() if v == 0.0]
    if not same:
        return None
    return Finding(
        name="symmetric_units",
        severity="failure",
        evidence=f"after {e.steps} updates all units are identical in {list_names(same)}: the layer acts as one unit",
        source="identical units get identical gradients (Rumelhart, Hinton & Williams, 1986)",
        remedies=better_init(e.params),
    )


def born_dead(e: Evidence) -> Finding | None:
    """Units are off before the first update although they receive a signal: their bias or mean keeps them off."""
    shares = {s: v for s, v in e.at_start("dead").items() if s in e.hidden}
    arriving = e.at_start("measured_q")
    first = next((arriving[s] for s in e.hidden if s in arriving), 0.0)
    # where no signal arrives units are off as well, but the cause is then the vanishing signal
    off = {s: v for s, v in shares.items() if v > BORN_DEAD and arriving.get(s, 0.0) > SIGNAL_RATIO_FAIL**2 * first}
    if not off or first <= 0:
        return None
    site = max(off, key=lambda s: off[s])
    return Finding(
        name="born_dead",
        severity="failure" if off[site] > DEAD_FAIL else "warning",
        evidence=f"before the first update {off[site]:.0%} of the units of {site} are off for every example, though"
        f" what they receive has mean square {arriving[site]:.3g} ({len(off)} of {len(e.hidden)} layers above"
        f" {BORN_DEAD:.0%})",
        source="a unit that is off for all inputs gets no gradient, ever (Lu, Shin, Su & Karniadakis, 2019)",
        remedies=(*no_bias(e.params), _LEAK, *better_init(e.params)),
    )


def vanishing(e: Evidence) -> Finding | None:
    ratio = e.gradient_ratio()
    signal = _signal_ratio(e)
    if ratio is not None and ratio < GRADIENT_RATIO_WARN:
        severity: Severity = "failure" if ratio < GRADIENT_RATIO_FAIL else "warning"
        text = f"at initialisation the gradient at the first hidden layer is {ratio:.1e} of that at the last"
    elif signal is not None and signal < SIGNAL_RATIO_FAIL:
        severity = "failure"
        text = f"at initialisation the signal's standard deviation falls to {signal:.1e} of the first layer's"
    else:
        return None
    return Finding(
        name="vanishing",
        severity=severity,
        evidence=text,
        source=f"beyond e^-3 = {GRADIENT_RATIO_WARN:.2f} depth exceeds 6ξ (Schoenholz et al., ICLR 2017)",
        remedies=(*better_init(e.params), *architecture_changes(e.params)),
    )


def unscaled_branches(e: Evidence) -> Finding | None:
    """Residual branches of unit scale, and no norm: every sum adds a signal as large as the one that arrives."""
    if e.branches < 2 or e.norms:
        return None
    growth = _signal_ratio(e)
    if growth is None or growth <= 1 / GRADIENT_RATIO_WARN:
        return None
    loss = e.initial_loss()
    loud = loss is not None and not loss <= 100 * e.baseline.untrained
    loss_text = f"; the loss before training is {loss:.3g} ({e.baseline.words})" if loss is not None else ""
    return Finding(
        name="unscaled_branches",
        severity="failure" if loud or not growth <= 1 / GRADIENT_RATIO_FAIL else "warning",
        evidence=f"at initialisation the signal's standard deviation grows {growth:.1e}-fold over {e.branches} residual"
        f" branches without a norm{loss_text}",
        source="each sum doubles the mean square; branches · L^-1/2 keep it below e (Hayou et al., AISTATS 2021)",
        remedies=(*scaled_branches(e.params), *architecture_changes(e.params), *clipping(e.params)),
    )


def exploding(e: Evidence) -> Finding | None:
    ratio = e.gradient_ratio()
    start, expected = e.initial_loss(), e.baseline.untrained
    over_time = worst(e.at_start("lag_peak"))
    if ratio is not None and not ratio <= 1 / GRADIENT_RATIO_WARN:
        severity: Severity = "failure" if not ratio <= 1 / GRADIENT_RATIO_FAIL else "warning"
        text = f"at initialisation the gradient grows {ratio:.1e}-fold from the last hidden layer to the first"
    elif start is not None and not start <= INITIAL_LOSS_FACTOR * expected:
        # logits that are only too large cost the first few updates: a note is enough where the loss has fallen since
        last = e.last_value("val/loss")
        quieted = last is not None and last < expected
        severity = "failure" if not start <= 100 * expected else "note" if quieted else "warning"
        text = f"the loss before training is {start:.3g}; guessing gives {e.baseline.words}"
    elif over_time is not None and not over_time <= 1 / GRADIENT_RATIO_WARN:
        severity = "failure" if not over_time <= 1 / GRADIENT_RATIO_FAIL else "warning"
        text = f"at initialisation the gradient grows {over_time:.1e}-fold backwards through time"
    else:
        return None
    return Finding(
        name="exploding",
        severity=severity,
        evidence=text,
        source=f"beyond e^3 = {1 / GRADIENT_RATIO_WARN:.0f} depth exceeds 6ξ (Schoenholz et al., ICLR 2017)",
        remedies=(
            *(smaller_recurrence(e.params) if over_time is not None else better_init(e.params)),
            *architecture_changes(e.params),
            *clipping(e.params),
        ),
    )


def saturated(e: Evidence) -> Finding | None:
    return _saturated(e, "saturated", "at initialisation", e.at_start("saturated"))


def became_saturated(e: Evidence) -> Finding | None:
    """Units that were not saturated at initialisation are saturated after training."""
    if saturated(e) is not None:
        return None
    moment = f"at the end (update {e.last_step('saturated')})"
    return _saturated(e, "became_saturated", moment, e.at_end("saturated"))


def _saturated(e: Evidence, name: str, moment: str, shares: dict[str, float]) -> Finding | None:
    over = {s: v for s, v in shares.items() if v > SATURATED_WARN}
    if not e.flat_both_sides or not over:
        return None
    site = max(over, key=lambda s: over[s])
    remedies = better_init(e.params)
    return Finding(
        name=name,
        severity="failure" if len(over) * 2 >= max(1, len(e.hidden)) else "warning",
        evidence=f"{moment} {over[site]:.0%} of {site} lies where the slope is below 5 % of its maximum"
        f" ({len(over)} of {len(e.hidden)} layers above {SATURATED_WARN:.0%})",
        source="saturated units pass almost no gradient (Glorot & Bengio, AISTATS 2010)",
        remedies=remedies if name == "saturated" else (smaller_lr(e.params), *remedies),
    )


def dead_units(e: Evidence) -> Finding | None:
    shares = {s: v for s, v in e.at_end("dead").items() if v > DEAD_NOTE and s}
    if not shares:
        return None
    site = max(shares, key=lambda s: shares[s])
    share = shares[site]
    # no more dead units than at the start: training did not kill them. Deep layers see inputs that are all alike, and
    # with symmetric weights every second unit is off for all of these
    born = share <= max(e.at_start("dead").get(site, 0.0), DEAD_NOTE) + DEAD_NOTE and share <= BORN_DEAD
    severity: Severity = "failure" if share > DEAD_FAIL else "warning" if share > DEAD_WARN and not born else "note"
    return Finding(
        name="dead_units",
        severity=severity,
        evidence=f"{share:.0%} of the units of {site} are off for every example of a whole pass"
        f" ({len(shares)} of {len(e.hidden)} layers above {DEAD_NOTE:.0%})",
        source="a dead unit gets no gradient (Lu, Shin, Su & Karniadakis, 2019)",
        remedies=() if severity == "note" else (_LEAK, smaller_lr(e.params)),
    )


def _signal_ratio(e: Evidence) -> float | None:
    """Ratio of the output's standard deviation, last hidden layer over first, before training."""
    stds = e.at_start("act_std")
    values = [stds[s] for s in e.hidden if s in stds]
    return values[-1] / values[0] if len(values) > 1 and values[0] > 0 else None
