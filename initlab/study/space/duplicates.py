"""Finds arms that are the same computation under two names, before anything is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from initlab.core.text import listed
from initlab.errors import ConfigError
from initlab.study.space.grammar import Choice, arm_text, strip_sign
from initlab.study.space.space import Space

Arm = Mapping[str, str]

_TOLD = 5  # equal arms that a message names


def equal_arms(arms: Sequence[Arm], computations: Sequence[str], first: Sequence[Arm] = ()) -> list[tuple[Arm, Arm]]:
    """Each arm that is the same computation as another one, and that one.

    Args:
        arms: of a grid.
        computations: of each, see `config.computation`.
        first: arms that were planned before, and are kept where one of two has to go.
    """
    planned = {arm_text(a) for a in first}
    order = sorted(range(len(arms)), key=lambda i: (arm_text(arms[i]) not in planned, i))
    kept: dict[str, Arm] = {}
    found: list[tuple[int, Arm, Arm]] = []
    for i in order:
        same = kept.setdefault(computations[i] or arm_text(arms[i]), arms[i])
        # a study that trained both before keeps both
        if same is not arms[i] and arm_text(arms[i]) not in planned:
            found.append((i, arms[i], same))
    return [(arm, same) for _, arm, same in sorted(found, key=lambda f: f[0])]


def describe_equal(pairs: Sequence[tuple[Arm, Arm]]) -> str:
    """Which arms are the same, by the values in which they differ; what holds for several arms is said once."""
    told = dict.fromkeys(f"{_words(arm, same)} is {_words(same, arm)}" for arm, same in pairs)
    return listed(list(told), _TOLD)


def refuse_equal_options(space: Space, arm: Arm, computation: Callable[[Arm], str]) -> None:
    """Raises ConfigError where two options of a key make the same arm, which a sampler would take for two.

    Args:
        space: of the sampler.
        arm: one of it; each key in turn gets its other options.
        computation: of an arm, see `config.computation`.
    """
    for dimension in space.dimensions:
        if not isinstance(dimension, Choice) or dimension.key not in arm:
            continue
        seen: dict[str, str] = {}
        for option in dimension.options:
            try:
                found = computation(_vary(space, arm, dimension.key, option))
            except Exception:  # this option does not compose with the others of the arm: told when it is tried
                continue
            same = seen.setdefault(found, option)
            if same != option:
                what = f"{same} and {option} are the same arm under two names; leave one out"
                raise ConfigError(dimension.key, ",".join(dimension.options), what)


def _vary(space: Space, arm: Arm, key: str, option: str) -> dict[str, str]:
    """`arm` with another option of `key`, without the keys that do not exist then."""
    of = strip_sign(key)
    gone = {c.key for c in space.conditions if c.of == of and option not in c.values}
    return {k: v for k, v in {**arm, key: option}.items() if strip_sign(k) not in gone}


def _words(arm: Arm, other: Arm) -> str:
    return " ".join(f"{k}={v}" for k, v in arm.items() if other.get(k) != v) or "the same"
