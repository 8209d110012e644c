"""Optuna's samplers by the names of `conf/study`, and what each cannot do with a space."""

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

#: samplers that need keys which every arm has, and what they do with them
_UNCONDITIONAL = {
    "cmaes": "moves two or more numbers that every arm has",
    "qmc": "spreads keys that every arm has",
    "gp": "models keys that every arm has",
    "nsga2": "crosses keys that every arm has",
}
#: samplers that follow one objective
_ONE_OBJECTIVE = ("cmaes",)
#: numpy's generators take seeds below this
_SEEDS = 2**32


def sampler(
    name: str, *, seed: int, workers: int = 1, objectives: int = 1, options: Mapping[str, Any] | None = None
) -> BaseSampler:
    """One of Optuna's samplers, without its warnings; what it cannot do is told by `notes`.

    Args:
        name: as in `NAMES`. A grid's arms are all enqueued, so that its sampler is never asked.
        seed: of its random numbers, see `stream`.
        workers: processes that search together.
        objectives: that the study has.
        options: of Optuna's class, over those that are set here.

    Raises:
        ConfigError: for an unknown name, an option that the class does not take, a package that is absent, and
            several objectives where it knows one alone.
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
            raise ConfigError("study.sampler", name, f"cannot be made so; {error}") from error


def stream(seed: int, *, worker: int, trials: int) -> int:
    """The seed of one worker's sampler.

    Two workers with one seed would propose the same arms, and so would a study that is gone on with and begins its
    random numbers anew.

    Args:
        seed: of the study.
        worker: its number.
        trials: that the study has when this worker begins.
    """
    return seeds.derive(seed, "sampler", str(worker), str(trials)) % _SEEDS


def notes(name: str, space: Space) -> tuple[str, ...]:
    """Sentences on the keys of `space` that the sampler `name` draws at random, because it cannot do better."""
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
    return (f"study={name} {why}; at random here: {keys}; study=tpe takes them all",)


# ------------------------------------------------------------------ makers
def _random(options: dict[str, Any], workers: int) -> BaseSampler:
    from optuna.samplers import RandomSampler

    del workers
    return RandomSampler(**options)


def _tpe(options: dict[str, Any], workers: int) -> BaseSampler:
    """Keys are drawn jointly; arms that have the same keys form a group, so that conditions cost nothing."""
    from optuna.samplers import TPESampler

    # arms that others still train count as poor ones, so that two workers do not try the same
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
    """Sobol's sequence, not scrambled: so workers with different seeds take points of one sequence."""
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
