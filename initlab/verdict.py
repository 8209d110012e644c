"""Rules from evidence to finding to remedy: why a run went as it went, and what to try next.

Each rule is a function of `Evidence` that returns a finding or None. Its numbers stand at the top with their source, so
that a reader can disagree with a number and not with a black box. A remedy is an override for the same command.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

from initlab.remedies import better_init, longer_memory, number, smaller_lr, smaller_recurrence, structure
from initlab.spec import Baseline, Finding, Profile, ProfileRow, Remedy, Scalar, Severity

# Mean-field theory finds networks trainable up to a depth of about 6 ξ (Schoenholz et al., ICLR 2017); there the
# squared gradient has changed by e^±6 between first and last layer, and its norm by e^±3.
GRADIENT_RATIO_WARN = math.exp(-3)
GRADIENT_RATIO_FAIL = 1e-3
# a signal whose standard deviation fell by three orders of magnitude is rounding noise in bf16 and hard to read in fp32
SIGNAL_RATIO_FAIL = 1e-3
# more than half of the units on the flat parts: Glorot & Bengio, AISTATS 2010, section 3, saw training stall there
SATURATED_WARN = 0.5
# Karpathy's notes for Stanford's CS231n name 40 % dead as what too high a rate does; a layer that is all dead makes the
# network constant (Lu, Shin, Su & Karniadakis, 2019); a tenth is ordinary after He's initialisation and worth a note
DEAD_NOTE, DEAD_WARN, DEAD_FAIL = 0.1, 0.4, 0.9
# more than half of a gate's values below 0.1 while the sequence runs: the cell forgets at once (Karpathy, Johnson &
# Fei-Fei, 2015, section 4.2, call values beyond 0.1 and 0.9 saturated)
CLOSED_WARN = 0.5
# ‖ΔW‖/‖W‖ near 1e-3 is the customary heuristic (Karpathy, 2015); two decades below or above tell of a wrong rate
UPDATE_SMALL, UPDATE_LARGE = 1e-5, 1e-1
# a classifier that knows nothing has loss ln C; far above it the head's scale is too large
INITIAL_LOSS_FACTOR = 3.0
# accuracy within three standard errors of always guessing the commonest class
CHANCE_SIGMAS = 3.0
# where answers are not right or wrong: a loss within 3 % of the best constant answer's
CHANCE_LOSS = 0.97


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the rules may look at.

    Attributes:
        profile: rows and curves of the run.
        hidden: names of the sites that an activation follows, first layer first.
        baseline: what is reached without looking at the input. answers: of the validation part.
        answer_per_step: whether a sequence is answered at every step, and not only at its end.
        flat_both_sides: whether the activation saturates towards both ends (tanh, sigmoid).
        params: the flattened configuration, to phrase remedies as overrides.
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

    def of(self, statistic: str, site: str | None = None) -> list[ProfileRow]:
        return [r for r in self.profile.rows if r.statistic == statistic and (site is None or r.site == site)]

    def at_start(self, statistic: str) -> dict[str, float]:
        """Site → value at the first look."""
        rows = self.of(statistic)
        first = min((r.step for r in rows), default=0)
        return {r.site: r.value for r in rows if r.step == first}

    def at_end(self, statistic: str) -> dict[str, float]:
        """Site → value at the last look."""
        rows = self.of(statistic)
        last = max((r.step for r in rows), default=0)
        return {r.site: r.value for r in rows if r.step == last}

    def at_start_by_step(self, statistic: str) -> dict[str, list[float]]:
        """Site → values by step of time at the first look."""
        return self._by_step(statistic, first=True)

    def at_end_by_step(self, statistic: str) -> dict[str, list[float]]:
        """Site → values by step of time at the last look."""
        return self._by_step(statistic, first=False)

    def _by_step(self, statistic: str, *, first: bool) -> dict[str, list[float]]:
        rows = self.of(statistic)
        at = (min if first else max)((r.step for r in rows), default=0)
        found: dict[str, list[float]] = {}
        for r in rows:
            if r.step == at:
                found.setdefault(r.site, []).append(r.value)
        return found

    def last(self, key: str) -> float | None:
        curve = self.profile.curves.get(key)
        return curve[-1][1] if curve else None


Rule = Callable[[Evidence], Finding | None]


def judge(evidence: Evidence) -> tuple[Finding, ...]:
    """All findings, gravest first; one finding ``healthy`` where no rule has a failure or warning to tell."""
    found = [f for rule in RULES if (f := rule(evidence)) is not None]
    explained = {name for f in found for name in _CONSEQUENCES.get(f.name, ())}
    found = [f for f in found if f.name not in explained]
    if not any(f.severity in ("failure", "warning") for f in found):
        found.insert(0, _healthy(evidence))
    gravity = {"failure": 0, "warning": 1, "ok": 2, "note": 3}
    return tuple(sorted(found, key=lambda f: gravity[f.severity]))


def headline(findings: tuple[Finding, ...]) -> str:
    """The names of the gravest findings, for a tag: ``symmetric_units,at_chance`` or ``healthy``."""
    worst = [f.name for f in findings if f.severity in ("failure", "warning")]
    return ",".join(worst) or "healthy"


# ------------------------------------------------------------------ the rules
def diverged(e: Evidence) -> Finding | None:
    if e.diverged_step is None:
        return None
    remedies = [smaller_lr(e.params), *_clipping(e)]
    return Finding(
        name="diverged",
        severity="failure",
        evidence=f"the loss was not finite at step {e.diverged_step}",
        source="a learning rate above 2/λ_max of the Hessian diverges (LeCun et al., 1998)",
        remedies=(*remedies, *better_init(e.params)),
    )


def symmetric_units(e: Evidence) -> Finding | None:
    if e.steps == 0:
        return None
    same = [s for s, v in e.at_end("unit_spread").items() if v == 0.0 and s in e.hidden]
    if not same:
        return None
    return Finding(
        name="symmetric_units",
        severity="failure",
        evidence=f"after {e.steps} updates all units are identical in {_some(same)}: a wide layer that is one unit",
        source="identical units get identical gradients (Rumelhart, Hinton & Williams, 1986)",
        remedies=better_init(e.params),
    )


def vanishing(e: Evidence) -> Finding | None:
    ratio = e.at_start("grad_ratio").get("")
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
        remedies=(*better_init(e.params), *structure(e.params)),
    )


def exploding(e: Evidence) -> Finding | None:
    ratio = e.at_start("grad_ratio").get("")
    start, expected = _loss_before(e), e.baseline.untrained
    over_time = _worst(e.at_start("lag_peak"))
    if ratio is not None and not ratio <= 1 / GRADIENT_RATIO_WARN:
        severity: Severity = "failure" if not ratio <= 1 / GRADIENT_RATIO_FAIL else "warning"
        text = f"at initialisation the gradient grows {ratio:.1e}-fold from the last hidden layer to the first"
    elif start is not None and not start <= INITIAL_LOSS_FACTOR * expected:
        severity = "failure" if not start <= 100 * expected else "warning"
        text = f"the loss before training is {start:.3g}; knowing nothing gives {e.baseline.words}"
    elif over_time is not None and not over_time <= 1 / GRADIENT_RATIO_WARN:
        severity = "failure" if not over_time <= 1 / GRADIENT_RATIO_FAIL else "warning"
        text = f"at initialisation the gradient grows {over_time:.1e}-fold on its way back in time"
    else:
        return None
    return Finding(
        name="exploding",
        severity=severity,
        evidence=text,
        source=f"beyond e^3 = {1 / GRADIENT_RATIO_WARN:.0f} depth exceeds 6ξ (Schoenholz et al., ICLR 2017)",
        remedies=(
            *(smaller_recurrence(e.params) if over_time is not None else better_init(e.params)),
            *structure(e.params),
            *_clipping(e),
        ),
    )


def saturated(e: Evidence) -> Finding | None:
    if not e.flat_both_sides:
        return None
    for moment, shares in (("at initialisation", e.at_start("saturated")), ("at the end", e.at_end("saturated"))):
        over = {s: v for s, v in shares.items() if v > SATURATED_WARN}
        if over:
            worst = max(over, key=lambda s: over[s])
            return Finding(
                name="saturated",
                severity="failure" if len(over) * 2 >= max(1, len(e.hidden)) else "warning",
                evidence=f"{moment} {over[worst]:.0%} of {worst} lies where the slope is below 5 % of its maximum"
                f" ({len(over)} of {len(e.hidden)} layers above {SATURATED_WARN:.0%})",
                source="saturation is the vanishing itself (Glorot & Bengio, AISTATS 2010)",
                remedies=better_init(e.params),
            )
    return None


def dead(e: Evidence) -> Finding | None:
    shares = {s: v for s, v in e.at_end("dead").items() if v > DEAD_NOTE and s}
    if not shares:
        return None
    worst = max(shares, key=lambda s: shares[s])
    share = shares[worst]
    return Finding(
        name="dead_units",
        severity="failure" if share > DEAD_FAIL else "warning" if share > DEAD_WARN else "note",
        evidence=f"{share:.0%} of the units of {worst} are off for every example of a whole pass"
        f" ({len(shares)} of {len(e.hidden)} layers above {DEAD_NOTE:.0%})",
        source="a dead unit gets no gradient (Lu, Shin, Su & Karniadakis, 2019)",
        remedies=(
            Remedy(overrides=("activation=leaky_relu",), why="a leak lets gradient through where a unit is off"),
            smaller_lr(e.params),
        )
        if share > DEAD_WARN
        else (),
    )


def update_size(e: Evidence) -> Finding | None:
    ratios = [r.value for r in e.of("update_ratio") if r.step >= 5 and math.isfinite(r.value)]
    if len(ratios) < 2:
        return None
    middle = median(ratios)
    if UPDATE_SMALL <= middle <= UPDATE_LARGE:
        return None
    small = middle < UPDATE_SMALL
    lr = number(e.params, "optimizer.lr")
    change = 10.0 if small else 0.1
    override = f"optimizer.lr={lr * change:g}" if lr is not None else f"optimizer.lr={'larger' if small else 'smaller'}"
    return Finding(
        name="updates_too_small" if small else "updates_too_large",
        severity="warning",
        evidence=f"the median update is {middle:.1e} of its weight (customary: about 1e-3)",
        source="‖ΔW‖/‖W‖ ≈ 1e-3 (Karpathy, 2015)",
        remedies=(Remedy(overrides=(override,), why=f"{change:g} times the learning rate"),),
    )


def at_chance(e: Evidence) -> Finding | None:
    if e.steps < 10:
        return None
    accuracy, loss, p = e.last("val/accuracy"), e.last("val/loss"), e.baseline.accuracy
    if p is not None and accuracy is not None:
        if accuracy > p + CHANCE_SIGMAS * math.sqrt(p * (1 - p) / max(1, e.answers)):
            return None
        evidence = f"validation accuracy {accuracy:.3f} after {e.steps} updates; guessing gives {p:.3f}"
        source = f"within {CHANCE_SIGMAS:g} binomial standard errors of guessing"
    elif p is None and loss is not None and math.isfinite(loss):
        if loss < CHANCE_LOSS * e.baseline.constant:
            return None
        evidence = (
            f"validation loss {loss:.4g} after {e.steps} updates; the best answer that ignores the input"
            f" gives {e.baseline.constant:.4g}"
        )
        source = f"less than {1 - CHANCE_LOSS:.0%} below a constant answer"
    else:
        return None
    # a sequence that is answered at its end is lost where memory is short, whatever the layers' scale
    over_time = longer_memory(e.params) if e.at_start("reach") and not e.answer_per_step else ()
    remedies = (*over_time, *better_init(e.params), *structure(e.params))
    return Finding(name="at_chance", severity="failure", evidence=evidence, source=source, remedies=remedies)


def short_memory(e: Evidence) -> Finding | None:
    """The gradient of a sequence's end does not reach its beginning."""
    lags, reach, ratio = (e.at_start(k) for k in ("lags", "reach", "lag_ratio"))
    short = {s: r for s, r in reach.items() if r < lags[s]}
    if not short:
        return None
    site = min(short, key=lambda s: short[s])
    # a sequence that is answered at each step has much to learn from near steps; one answered at its end may not
    severity: Severity = "note" if e.answer_per_step else "warning"
    return Finding(
        name="short_memory",
        severity=severity,
        evidence=f"at initialisation the gradient through {site} falls below e^-3 after {short[site]:.0f} steps;"
        f" over {lags[site]:.0f} steps it falls to {ratio[site]:.1e}",
        source="products of Jacobians vanish (Bengio, Simard & Frasconi, 1994); gates may still learn to keep",
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
                evidence=f"{moment} {over[worst]:.0%} of what the states of {worst} receive over time lies where the"
                " slope is below 5 % of its maximum",
                source="saturation is the vanishing itself (Glorot & Bengio, AISTATS 2010)",
                remedies=smaller_recurrence(e.params),
            )
    return None


def closed_gates(e: Evidence) -> Finding | None:
    """Gates that keep the state (f of an LSTM, z of a GRU) are shut."""
    for moment, of in (("at initialisation", e.at_start), ("at the end", e.at_end)):
        for gate, word in (("f", "forget"), ("z", "update")):
            shut = {s: v for s, v in of(f"closed_{gate}").items() if v > CLOSED_WARN}
            if shut:
                worst = max(shut, key=lambda s: shut[s])
                return Finding(
                    name="closed_gates",
                    severity="warning",
                    evidence=f"{moment} {shut[worst]:.0%} of the {word} gates of {worst} are below 0.1: what a state"
                    " held is gone a step later",
                    source="Karpathy, Johnson & Fei-Fei, 2015; a bias of 1 opens it (Gers et al., 2000)",
                    remedies=longer_memory(e.params),
                )
    return None


#: causes before what they lead to
RULES: tuple[Rule, ...] = (
    symmetric_units,
    vanishing,
    exploding,
    diverged,
    saturated,
    states_saturated,
    closed_gates,
    short_memory,
    dead,
    update_size,
    at_chance,
)


#: what follows from a finding and would only repeat it: identical zero units are off, have no gradient and never move;
#: where no signal arrives units are off, and where no gradient does weights do not move
_CONSEQUENCES: dict[str, tuple[str, ...]] = {
    "symmetric_units": ("dead_units", "updates_too_small", "vanishing"),
    "vanishing": ("dead_units", "updates_too_small"),
    "diverged": ("updates_too_small", "updates_too_large"),
}


def _healthy(e: Evidence) -> Finding:
    parts: list[str] = []
    ratio = e.at_start("grad_ratio").get("")
    if ratio is not None:
        parts.append(f"gradient ratio first/last layer {ratio:.2f} at initialisation")
    for key, words in (("bits_per_char", "bits per character"), ("accuracy", "accuracy"), ("loss", "loss")):
        value = e.last(f"val/{key}")
        if value is not None and math.isfinite(value):
            parts.append(f"validation {words} {value:.3f}")
            break
    return Finding(
        name="healthy",
        severity="ok",
        evidence="; ".join(parts) or "no rule found anything",
        source="no rule of initlab.verdict fired",
    )


def _clipping(e: Evidence) -> tuple[Remedy, ...]:
    if number(e.params, "trainer.clip_grad_norm") is not None:
        return ()
    return (Remedy(overrides=("trainer.clip_grad_norm=1.0",), why="bounds each update"),)


def _worst(values: Mapping[str, float]) -> float | None:
    """The largest, or NaN where one is; None of nothing."""
    found = [v for s, v in values.items() if s]
    return next((v for v in found if math.isnan(v)), max(found, default=None))


def _loss_before(e: Evidence) -> float | None:
    """The validation loss before the first update, None where it was not looked at."""
    loss = e.profile.curves.get("val/loss", ())
    return loss[0][1] if loss and loss[0][0] == 0 else None


def _signal_ratio(e: Evidence) -> float | None:
    stds = e.at_start("act_std")
    values = [stds[s] for s in e.hidden if s in stds]
    return values[-1] / values[0] if len(values) > 1 and values[0] > 0 else None


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
