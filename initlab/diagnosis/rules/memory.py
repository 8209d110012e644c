"""Rules for recurrent layers: gradient reach back in time, saturated states, closed gates."""

from __future__ import annotations

from initlab.diagnosis.remedies import longer_memory, smaller_recurrence
from initlab.diagnosis.rules.bounds import CLOSED_WARN, LEARNED_ENOUGH, SATURATED_WARN
from initlab.diagnosis.rules.evidence import Evidence
from initlab.diagnosis.rules.outcome import learned_fraction
from initlab.spec import Finding, Severity


def short_memory(e: Evidence) -> Finding | None:
    """The gradient of a sequence's end does not reach its beginning."""
    lags, reach, ratio = (e.at_start(k) for k in ("lags", "reach", "lag_ratio"))
    short = {s: r for s, r in reach.items() if r < lags[s]}
    if not short:
        return None
    site = min(short, key=lambda s: short[s])
    # a sequence with a target at each step can be learned mostly from near steps; one with a target at its end may not
    near_enough = e.answer_per_step or learned_fraction(e) >= LEARNED_ENOUGH
    severity: Severity = "note" if near_enough else "warning"
    return Finding(
        name="short_memory",
        severity=severity,
        evidence=f"at initialisation the gradient through {site} falls below e^-3 after {short[site]:.0f} steps;"
        f" over {lags[site]:.0f} steps it falls to {ratio[site]:.1e}",
        source="products of Jacobians vanish (Bengio, Simard & Frasconi, 1994); gates may still learn to remember",
        remedies=longer_memory(e.params) if severity == "warning" else (),
    )


def states_saturated(e: Evidence) -> Finding | None:
    for moment, rows in (("at initialisation", e.at_start_by_step), ("at the end", e.at_end_by_step)):
        shares = {s: sum(v) / len(v) for s, v in rows("hidden_saturated").items()}
        over = {s: v for s, v in shares.items() if v > SATURATED_WARN}
        if over:
            worst = max(over, key=lambda s: over[s])
            return Finding(
                name="states_saturated",
                severity="warning",
                evidence=f"{moment} {over[worst]:.0%} of the pre-activations of {worst} over all steps lie where"
                " the slope is below 5 % of its maximum",
                source="saturated units pass almost no gradient (Glorot & Bengio, AISTATS 2010)",
                remedies=smaller_recurrence(e.params),
            )
    return None


def closed_gates(e: Evidence) -> Finding | None:
    """The gates that preserve the state (f of an LSTM, z of a GRU) are closed."""
    for moment, of in (("at initialisation", e.at_start), ("at the end", e.at_end)):
        for gate, word in (("f", "forget"), ("z", "update")):
            shut = {s: v for s, v in of(f"closed_{gate}").items() if v > CLOSED_WARN}
            if shut:
                worst = max(shut, key=lambda s: shut[s])
                return Finding(
                    name="closed_gates",
                    severity="warning",
                    evidence=f"{moment} {shut[worst]:.0%} of the {word} gates of {worst} are below 0.1: the state is"
                    " lost after one step",
                    source="Karpathy, Johnson & Fei-Fei, 2015; a bias of 1 opens it (Gers et al., 2000)",
                    remedies=longer_memory(e.params),
                )
    return None
