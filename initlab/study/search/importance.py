"""Importance of the searched keys for reaching the best arms, by PED-ANOVA; for searches and grids."""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from initlab.core.text import to_one_line
from initlab.study.search.arms import ArmResult
from initlab.study.space.objectives import Directions, as_direction, each

if TYPE_CHECKING:
    import optuna

#: minimum number of arms with an objective
MIN_ARMS = 4
#: maximum number of keys that the line names
_NAMED = 6
#: trials in all random orders together, and the most trials for which these are tried
_SHUFFLES, _SHUFFLED = 3000, 500


def importances(study: optuna.Study) -> tuple[dict[str, float], float, int] | None:
    """Parameter → share, the most important first; the top quantile; the number of complete trials.

    None where it cannot be computed: fewer than four complete trials, fewer than two parameters, or none that separates
    the top from the rest. With several objectives the top are the first fronts. At least five trials should lie
    in the top, so the quantile is wider than a tenth for fewer than fifty. Source: Watanabe, Bansal & Hutter, IJCAI
    2023.
    """
    found = _weights(study)
    if found is None:
        return None
    raw, quantile, count = found
    total = sum(raw.values())
    # all zero: Optuna would give every parameter the same share, although nothing was measured
    if not raw or not math.isfinite(total) or total <= 0:
        return None
    ordered = sorted(raw.items(), key=lambda item: -item[1])
    return {key: value / total for key, value in ordered}, quantile, count


def _weights(study: optuna.Study) -> tuple[dict[str, float], float, int] | None:
    """The same before it is scaled to a sum of 1."""
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
    from optuna.trial import TrialState

    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    count = sum(all(math.isfinite(v) for v in t.values) for t in trials)
    if count < MIN_ARMS or len({p for t in trials for p in t.params}) < 2:
        return None
    quantile = min(0.5, max(0.1, 5 / count))
    with warnings.catch_warnings():
        # Optuna drops trials without a finite value and warns of each; the title says how many count
        warnings.simplefilter("ignore")
        try:
            raw = get_param_importances(
                study, evaluator=PedAnovaImportanceEvaluator(target_quantile=quantile), normalize=False
            )
        except (ValueError, RuntimeError):
            return None
    return raw, quantile, count


def within_noise(study: optuna.Study) -> frozenset[str]:
    """The parameters that are as important in more than 5 % of random orders of the values, in which nothing matters.

    A permutation test of 20 to 200 orders, fewer where there are many trials; nothing is said of more than 500.
    """
    import optuna
    from optuna.trial import TrialState

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    trials = [
        t for t in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)) if all(map(math.isfinite, t.values))
    ]
    found = _weights(study)
    if found is None or len(trials) > _SHUFFLED:
        return frozenset()
    rng, as_much = random.Random(0), dict.fromkeys(found[0], 0)
    orders = max(20, min(200, _SHUFFLES // len(trials)))
    for _ in range(orders):
        order = rng.sample(range(len(trials)), len(trials))
        shuffled = optuna.create_study(directions=study.directions)
        shuffled.add_trials(
            [
                optuna.trial.create_trial(values=trials[i].values, params=t.params, distributions=t.distributions)
                for t, i in zip(trials, order, strict=True)
            ]
        )
        by_chance = _weights(shuffled)
        for key, weight in (by_chance[0] if by_chance else {}).items():
            as_much[key] += weight >= found[0].get(key, 0.0) * (1 - 1e-9)
    return frozenset(k for k, n in as_much.items() if (n + 1) / (orders + 1) > 0.05)


def study_of_arms(arms: Sequence[ArmResult], direction: Directions) -> optuna.Study:
    """The complete arms as an Optuna study in memory, with each searched key as a categorical parameter.

    The arms of a grid have no Optuna parameters, since those could not get further values when a study is resumed.
    """
    import optuna
    from optuna.distributions import BaseDistribution, CategoricalDistribution

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(directions=[as_direction(d) for d in each(direction)])
    keys = dict.fromkeys(k for a in arms for k in a.choices)
    spaces = {k: CategoricalDistribution(sorted({a.choices[k] for a in arms if k in a.choices})) for k in keys}
    for arm in arms:
        if arm.state == "complete" and arm.finite is not None:
            values = arm.values or (arm.finite,)
            spans: dict[str, BaseDistribution] = {k: spaces[k] for k in arm.choices}
            made = optuna.trial.create_trial(values=values, params=dict(arm.choices), distributions=spans)
            study.add_trial(made)
    return study


def study_with_parameters(arms: Sequence[ArmResult], study: optuna.Study | None, direction: Directions) -> optuna.Study:
    """Optuna's own study where it has parameters, with their intervals; else one made from the arms."""
    from optuna.trial import TrialState

    if study is not None and any(t.params for t in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))):
        return study
    return study_of_arms(arms, direction)


def format_importance(
    arms: Sequence[ArmResult], study: optuna.Study | None, direction: Directions
) -> tuple[str, frozenset[str]]:
    """The importance of each key in one line, or why there is none; and the keys that are `within_noise`."""
    used = study_with_parameters(arms, study, direction)
    found = importances(used)
    if found is None:
        return f"importance: not computed; {_why_not(arms)}", frozenset()
    shares, _, count = found
    noise = within_noise(used)
    if noise >= set(shares):
        # few arms: what a test of effects finds over all seeds can be large all the same
        return (
            f"importance: {count} arms are too few to measure it (PED-ANOVA); compare tests the effect of each key",
            noise,
        )
    told = [
        f"{to_one_line(key)} {f'{100 * share:.0f} %' if key not in noise else 'within noise'}"
        for key, share in list(shares.items())[:_NAMED]
    ]
    more = f" and {len(shares) - _NAMED} more" if len(shares) > _NAMED else ""
    return f"importance: {', '.join(told)}{more} ({count} arms)", noise


def _why_not(arms: Sequence[ArmResult]) -> str:
    done = [a for a in arms if a.state == "complete" and a.finite is not None]
    if len(done) < MIN_ARMS:
        return f"{len(done)} arm{'' if len(done) == 1 else 's'} with a result, {MIN_ARMS} are needed"
    if len({k for a in done for k in a.choices}) < 2:
        return "only one key was searched"
    if len({a.values or (a.finite,) for a in done}) == 1:
        return "all arms have the same value"
    return "no key separates the best arms from the rest"
