"""Chooses among the options; states the expected result and the confidence."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from initlab.advice.auto import MARGIN, is_likely
from initlab.advice.options import DEFAULT, Option
from initlab.advice.past import Past
from initlab.core.tables import as_frame, as_html

if TYPE_CHECKING:
    import pandas as pd

Confidence = Literal["high", "medium", "low", "none"]

#: minimum number of runs for using their mean, and for a high confidence
_MIN_RUNS, _HIGH_CONFIDENCE_RUNS = 2, 3
#: results of docs/predictor.md: verdict → (number that trained, number with this verdict). Of a risk, on plain networks
#: that had no part in it; of a probability, on all kinds of networks, each with its activation left out of the fit
_OF_RISK = "held-out plain networks with this verdict (300 updates of SGD at 0.01 or Adam at 0.001)"
_BY_RISK = {"trainable": (98, 119), "marginal": (10, 23), "untrainable": (11, 75)}
_OF_PROBABILITY = "runs with this verdict that had no part in the prediction"
_BY_PROBABILITY = {"trainable": (481, 505), "marginal": (507, 921), "untrainable": (26, 444)}


@dataclass(frozen=True, kw_only=True, repr=False)
class Advice:
    """The recommendation, with its reasons.

    Attributes:
        init, activation: recommended; the usual ones for a network without evidence (`knows` is False).
        overrides: the same as overrides.
        expected: the expected result. confidence: of it, with the `reason`.
        options: all evaluated options, the chosen one first, then by risk.
        past: results of similar runs: (init, activation) → runs.
        knows: whether there is any evidence for the choice.
    """

    init: str
    activation: str
    overrides: tuple[str, ...]
    expected: str
    confidence: Confidence
    reason: str
    options: tuple[Option, ...]
    past: Mapping[tuple[str, str], Past]
    knows: bool = True

    def __repr__(self) -> str:
        return f"<advice: {self}>"

    def rows(self) -> list[dict[str, object]]:
        """A row for each option, the chosen one first."""
        return [
            {
                "init": o.init, "activation": o.activation, "risk": o.risk,
                "probability": o.outlook.score if o.outlook is not None and o.outlook.calibrated else None,
                "verdict": o.refused or ("" if o.outlook is None else o.outlook.verdict), "why": o.why,
            }
            for o in self.options
        ]  # fmt: skip

    def frame(self) -> pd.DataFrame:
        """`rows` as a pandas table."""
        return as_frame(self.rows())

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(str(self))}</p>{as_html(self.rows())}"

    def __str__(self) -> str:
        start = "take" if self.knows else "not known; the usual choice is"
        return f"{start} {' '.join(self.overrides)}: {self.expected} (confidence {self.confidence}: {self.reason})"


def decide(
    options: Sequence[Option],
    past: Mapping[tuple[str, str], Past],
    *,
    silent: str = "",
    composed: str = "",
    taken: str = "",
) -> Advice:
    """Choose an option.

    Options are ordered by what is usually best. A later one must have ten times the odds that the run trains (or,
    where no optimiser is known, a risk that is lower by one) to be preferred to an earlier one, as in `init=auto`: the
    prediction separates networks that train from networks that do not, and nothing finer. Where none is likely to train
    the risk decides. Similar runs do: where two
    options or more have some, the one with the best mean is chosen, unless its odds are worse than that.

    Args:
        options: in order, of one or of several activations.
        past: results of similar runs.
        silent: parts of the network that the prediction does not cover; then only runs count.
        composed: the default activation of the network, which needs no override.
        taken: description of the runs in `past`.
    """
    usable = [o for o in options if o.outlook is not None]
    if not usable:
        raise ValueError("no option fits the network")
    # torch's default is for comparison only, but where the structure puts it first
    candidates = usable if usable[0].init == DEFAULT else [o for o in usable if o.init != DEFAULT] or usable
    outlooks = [o.outlook for o in candidates if o.outlook is not None]
    by_risk = any(o.calibrated for o in outlooks) and not is_likely(outlooks)

    def rank(option: Option) -> float:
        return option.risk if by_risk else option.rank

    best = candidates[0]
    for option in candidates[1:]:
        if rank(option) < rank(best) - best.margin:
            best = option
    known = [
        o for o in usable
        if (p := past.get((o.init, o.activation))) is not None and p.runs >= _MIN_RUNS and p.scores
        and 2 * p.trained > p.runs and (silent or rank(o) <= rank(best) + MARGIN)
    ]  # fmt: skip
    chosen, from_runs = best, False
    if len(known) >= _MIN_RUNS or (silent and known):
        chosen = max(known, key=lambda o: _goodness(past[o.init, o.activation]))
        from_runs = True
    seen = past.get((chosen.init, chosen.activation))
    knows = from_runs or not silent
    confidence, reason = _confidence(chosen, seen, silent=silent, from_runs=from_runs, taken=taken)
    more = (f"activation={chosen.activation}",) if composed and chosen.activation != composed else ()
    overrides = (f"init={chosen.init}", *more)
    rest = sorted((o for o in options if o is not chosen), key=rank)
    return Advice(
        init=chosen.init, activation=chosen.activation, overrides=overrides, expected=_expected(chosen, seen, silent),
        confidence=confidence, reason=reason, options=(chosen, *rest), past=past, knows=knows,
    )  # fmt: skip


def _goodness(past: Past) -> float:
    return past.mean if past.higher else -past.mean


def _expected(chosen: Option, seen: Past | None, silent: str) -> str:
    if seen is not None and seen.runs >= _MIN_RUNS and seen.scores:
        return f"{seen.trained} of {seen.runs} similar runs trained, {seen.words()}"
    if silent or chosen.outlook is None:
        return "no prediction of its result"
    words = {
        "trainable": "it should train", "marginal": "it may train", "untrainable": "it does not train as it stands",
    }  # fmt: skip
    verdict, said = chosen.outlook.verdict, words[chosen.outlook.verdict]
    if chosen.outlook.calibrated:
        trained, called = _BY_PROBABILITY[verdict]
        return f"{said}, with probability {chosen.outlook.score:.2f}: {trained} of {called} {_OF_PROBABILITY} did"
    if not chosen.plain:
        return said
    trained, called = _BY_RISK[verdict]
    return f"{said}: {trained} of {called} {_OF_RISK} did"


def _confidence(
    chosen: Option, seen: Past | None, *, silent: str, from_runs: bool, taken: str
) -> tuple[Confidence, str]:
    """Confidence and its reason."""
    assert chosen.outlook is not None
    trainable = chosen.outlook.verdict == "trainable"
    if from_runs and seen is not None:
        runs = f"{seen.runs} runs with it, of {taken}" if taken else f"{seen.runs} runs with it"
        if seen.runs >= _HIGH_CONFIDENCE_RUNS and seen.trained == seen.runs and (trainable or silent):
            more = "and the prediction agrees" if not silent else f"though theory does not cover {silent}"
            return ("high" if not silent else "medium"), f"{runs}, all of which trained, {more}"
        return "medium" if trainable or silent else "low", f"{runs}, {seen.trained} of which trained"
    if silent:
        few = f"{taken}, none of them enough to compare" if taken else "no similar runs in the store"
        return "none", f"theory does not cover {silent}, and there are {few}"
    if not trainable:
        return "low", f"the outlook of the best candidate is {chosen.outlook.verdict}: {chosen.outlook.reasons[0]}"
    if chosen.plain or (chosen.outlook.calibrated and not chosen.unknown):
        kinds = "networks of this kind" if chosen.outlook.calibrated else "plain networks"
        return (
            "medium",
            f"the prediction ranks {kinds} well, but no finer differences; too few similar runs to compare",
        )
    return (
        "low",
        f"{chosen.unsure or 'the prediction was not checked on such networks'}; too few similar runs to compare",
    )
