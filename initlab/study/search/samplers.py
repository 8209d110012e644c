"""Creates Optuna samplers by the names of `conf/study`; notes which keys a sampler can only draw at random."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from initlab.core import seeds
from initlab.errors import ConfigError, one_of
from initlab.study.space.space import Choice, Range, Space

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

#: samplers that need keys that every arm has, and how they use them
_UNCONDITIONAL = {
    "cmaes": "optimises two or more numbers that every arm has",
    "qmc": "spreads only keys that every arm has",
    "gp": "models only keys that every arm has",
    "nsga2": "crosses only keys that every arm has",
}
#: samplers that support only one objective
_ONE_OBJECTIVE = ("cmaes",)
#: numpy's generators take seeds below this
_SEEDS = 2**32


def sampler(
    name: str, *, seed: int, workers: int = 1, objectives: int = 1, options: Mapping[str, Any] | None = None
) -> BaseSampler:
    """Create a sampler, without its warnings; `notes` lists what it cannot do.

    Args:
        name: as in `NAMES`. The arms of a grid are all enqueued, so that its sampler is never called.
        seed: of its random numbers, see `stream`.
        workers: number of processes that search together.
        objectives: number of objectives.
        options: arguments of Optuna's class; they override those set here.

    Raises:
        ConfigError: an unknown name, an option that the class does not have, a missing package, or several
            objectives for a sampler that supports one.
    """
    if name not in _MAKERS:
        raise ConfigError("study.sampler", name, one_of(NAMES, name))
    if objectives > 1 and name in _ONE_OBJECTIVE:
        others = ", ".join(n for n in NAMES if n not in _ONE_OBJECTIVE)
        raise ConfigError("study.sampler", name, f"searches for one metric; with several, use {others}")
    with warnings.catch_warnings():
        # options that Optuna calls experimental and that have not changed since its version 3
        warnings.simplefilter("ignore")
        try:
            return _MAKERS[name]({"seed": seed % _SEEDS, **(options or {})}, workers)
        except (TypeError, ValueError) as error:
            raise ConfigError("study.sampler", name, f"cannot be created; {error}") from error


def stream(seed: int, *, worker: int, trials: int) -> int:
    """The seed of one worker's sampler.

    Two workers with the same seed would propose the same arms, and so would a resumed study that restarted its
    random numbers.

    Args:
        seed: of the study.
        worker: its number.
        trials: number of trials of the study when this worker starts.
    """
    return seeds.derive(seed, "sampler", str(worker), str(trials)) % _SEEDS


def notes(name: str, space: Space) -> tuple[str, ...]:
    """Sentences on the keys of `space` that the sampler `name` can only draw at random."""
    choices = [d.key for d in space.dimensions if isinstance(d, Choice)]
    numbers = [d.key for d in space.dimensions if isinstance(d, Range)]
    conditional = [d.key for d in space.dimensions if any(c.key == d.key for c in space.conditions)]
    at_random: list[str] = []
    if name == "cmaes":
        at_random += choices
        if len(set(numbers) - set(conditional)) < 2:
            at_random += numbers
    if name in _UNCONDITIONAL:
        at_random += conditional
    if not at_random:
        return ()
    why = _UNCONDITIONAL[name]
    keys = ", ".join(d.key for d in space.dimensions if d.key in at_random)
    return (f"study={name} {why}; at random here: {keys}; study=tpe supports all of them",)


# ------------------------------------------------------------------ makers
def _random(options: dict[str, Any], workers: int) -> BaseSampler:
    from optuna.samplers import RandomSampler

    del workers
    return RandomSampler(**options)


def _tpe(options: dict[str, Any], workers: int) -> BaseSampler:
    """Multivariate TPE: keys are drawn jointly, grouped by the set of keys that an arm has (conditions)."""
    from optuna.samplers import TPESampler

    # arms that other workers are still training count as poor, so that two workers do not try the same
    return TPESampler(**_merge_options({"multivariate": True, "group": True, "constant_liar": workers > 1}, options))


def _gp(options: dict[str, Any], workers: int) -> BaseSampler:
    from optuna.samplers import GPSampler

    del workers
    return GPSampler(**_merge_options({"warn_independent_sampling": False}, options))


def _cmaes(options: dict[str, Any], workers: int) -> BaseSampler:
    from optuna.samplers import CmaEsSampler

    del workers
    if importlib.util.find_spec("cmaes") is None:
        raise ConfigError("study.sampler", "cmaes", "needs the package cmaes: pip install cmaes")
    return CmaEsSampler(**_merge_options({"warn_independent_sampling": False}, options))


def _nsga2(options: dict[str, Any], workers: int) -> BaseSampler:
    from optuna.samplers import NSGAIISampler

    del workers
    return NSGAIISampler(**options)


def _qmc(options: dict[str, Any], workers: int) -> BaseSampler:
    """Unscrambled Sobol sequence, so that workers with different seeds take points of the same sequence."""
    from optuna.samplers import QMCSampler

    del workers
    return QMCSampler(
        **_merge_options({"warn_independent_sampling": False, "warn_asynchronous_seeding": False}, options)
    )


def _merge_options(settled: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    return {**settled, **options}


_MAKERS: Mapping[str, Callable[[dict[str, Any], int], BaseSampler]] = {
    "grid": _random,
    "random": _random,
    "tpe": _tpe,
    "gp": _gp,
    "cmaes": _cmaes,
    "nsga2": _nsga2,
    "qmc": _qmc,
}
NAMES = tuple(_MAKERS)
