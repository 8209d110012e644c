"""Search space of a study: keys with their possible values, parsed from Hydra's sweep grammar.

A value is stored as the text that a person would type, ``he``, ``0.1``, ``he(gain=2)``, so that an arm is a command
line and Optuna's parameters, the tracker's and the terminal's are the same words.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from initlab.config import quote_formulas
from initlab.errors import ConfigError
from initlab.study.space.grammar import Choice, Dimension, Range, arm_text, parse_override, read_dimension, strip_sign

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

__all__ = ["Choice", "Condition", "Dimension", "Range", "Space", "differences", "extension_only", "parse"]

#: keys that configure the search and are not part of the space
_SEARCH = ("study", "replicas", "hydra")
#: keys that configure where an arm runs and how it is observed, not what is trained
_NOT_TRAINED = ("device", "threads", "resume", "tracking", "probes", "inspect")


@dataclass(frozen=True, kw_only=True)
class Condition:
    """`key` exists only where `of`, a group or another key, has one of `values`."""

    key: str
    of: str
    values: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Space:
    """A search space.

    Attributes:
        fixed: overrides that all arms share.
        dimensions: keys that differ between arms.
        conditions: on keys of either kind. Several conditions on one key must all hold.
        skipped: arms (`arm_text`) that the grid leaves out, since others are the same computation.
    """

    fixed: tuple[str, ...]
    dimensions: tuple[Dimension, ...]
    conditions: tuple[Condition, ...] = ()
    skipped: tuple[str, ...] = ()

    def arms(self) -> Iterator[dict[str, str]]:
        """The full grid, the first dimension slowest.

        A key whose condition fails is left out of an arm, and duplicate arms and the skipped ones are removed.

        Raises:
            ConfigError: for an interval, which has no list of values.
        """
        options = [_options(d) for d in self.dimensions]
        seen: set[tuple[tuple[str, str], ...]] = set()
        for values in itertools.product(*options):
            full = dict(zip((d.key for d in self.dimensions), values, strict=True))
            kept = self._kept(full)
            arm = {k: v for k, v in full.items() if k in kept}
            if tuple(arm.items()) not in seen and arm_text(arm) not in self.skipped:
                seen.add(tuple(arm.items()))
                yield arm

    def suggest(self, trial: BaseTrial) -> dict[str, str]:
        """An arm by Optuna's sampler. A key is suggested only where its condition holds."""
        arm: dict[str, str] = {}
        for dimension in self.parents_first:
            if self._applies(dimension.key, arm):
                arm[dimension.key] = _suggest(trial, dimension)
        return {d.key: arm[d.key] for d in self.dimensions if d.key in arm}

    def overrides(self, arm: Mapping[str, str]) -> list[str]:
        """The command line of `arm`: fixed overrides, then its own values, quoted where Hydra's grammar requires it.

        A fixed key is left out where its condition fails in this arm, and where the arm has a value of its own.
        """
        own = {strip_sign(k) for k in arm}
        keys = {f: strip_sign(f.partition("=")[0]) for f in self.fixed}
        kept = [f for f, key in keys.items() if key not in own and self._applies(key, arm)]
        return quote_formulas([*kept, *(f"{key}={value}" for key, value in arm.items())])

    def as_json(self) -> dict[str, Any]:
        """Plain data, for a file."""
        return {
            "fixed": list(self.fixed),
            "dimensions": [asdict(d) for d in self.dimensions],
            "conditions": [asdict(c) for c in self.conditions],
            "skipped": list(self.skipped),
        }

    @staticmethod
    def from_json(plain: Mapping[str, Any]) -> Space:
        """The space that `as_json` wrote, also after it went through a JSON file."""
        return Space(
            fixed=tuple(plain["fixed"]),
            dimensions=tuple(read_dimension(d) for d in plain["dimensions"]),
            conditions=tuple(_condition_from_json(c) for c in plain["conditions"]),
            skipped=tuple(plain.get("skipped") or ()),
        )

    # -------------------------------------------------------------- conditions
    def _applies(self, key: str, arm: Mapping[str, str]) -> bool:
        """Whether `key` exists in an arm. A condition on a key that is not given is left to the composition."""
        asked = [c for c in self.conditions if c.key == strip_sign(key)]
        values = {**self._given, **{strip_sign(k): v for k, v in arm.items()}} if asked else {}
        searched = {strip_sign(d.key) for d in self.dimensions}
        return all(values[c.of] in c.values if c.of in values else c.of not in searched for c in asked)

    def _kept(self, full: Mapping[str, str]) -> dict[str, str]:
        arm: dict[str, str] = {}
        for dimension in self.parents_first:
            if self._applies(dimension.key, arm):
                arm[dimension.key] = full[dimension.key]
        return arm

    @cached_property
    def _given(self) -> dict[str, str]:
        return _fixed_values(self.fixed)

    @cached_property
    def parents_first(self) -> tuple[Dimension, ...]:
        """The dimensions, each after those that its conditions refer to; else in their own order.

        Raises:
            ConfigError: circular conditions.
        """
        waiting, done = list(self.dimensions), list[Dimension]()
        while waiting:
            missing = {strip_sign(d.key) for d in waiting}
            ready = next((d for d in waiting if not missing & self._parents(d.key)), None)
            if ready is None:
                keys = ", ".join(sorted(missing))
                raise ConfigError(
                    "study.conditions", keys, "these conditions are circular: each key depends on another one"
                )
            waiting.remove(ready)
            done.append(ready)
        return tuple(done)

    def _parents(self, key: str) -> set[str]:
        return {c.of for c in self.conditions if c.key == strip_sign(key)}


def parse(
    overrides: Sequence[str],
    *,
    space: Mapping[str, str] | None = None,
    conditions: Mapping[str, Mapping[str, Sequence[str]]] | None = None,
) -> Space:
    """Parse the typed overrides and the space of a study's file into a search space.

    The grammar is Hydra's: ``a,b``, ``choice()``, ``range()``, ``interval()``, ``glob()``, with casts, ``sort()`` and
    ``tag(log, ...)``. An interval is of real numbers, ``int(interval(2,9))`` of whole ones. A list, ``[a,b]``, is one
    value. Keys of the search itself (``study``, ``replicas``, ``hydra``) are ignored.

    Args:
        overrides: as typed. The last one of a key counts.
        space: key → text in the same grammar; typed overrides replace it.
        conditions: key → {another key: values with which the first exists}.

    Raises:
        ConfigError: with the key, for text that cannot be parsed, a sweep without values, swept seeds, and a
            condition that never holds.
    """
    found: dict[str, str | Dimension] = {}
    for text in [*(f"{key}={value}" for key, value in (space or {}).items()), *overrides]:
        key, value = parse_override(text)
        if _among(strip_sign(key), _SEARCH):
            if not isinstance(value, str):
                raise ConfigError(key, _words(value), "configures the search and cannot be searched itself")
            continue
        # `+init.a` and `init.a` are one key, which keeps its place
        same = next((k for k in found if strip_sign(k) == strip_sign(key)), key)
        found = {(key if k == same else k): v for k, v in found.items()} | {key: value}
    told = [
        Condition(key=key, of=of, values=tuple(str(v) for v in values))
        for key, parents in (conditions or {}).items()
        for of, values in parents.items()
        if key in map(strip_sign, found)
    ]
    made = Space(
        fixed=tuple(v for v in found.values() if isinstance(v, str)),
        dimensions=tuple(v for v in found.values() if not isinstance(v, str)),
        conditions=tuple(told),
    )
    for condition in made.conditions:
        _check(condition, made)
    made.parents_first  # noqa: B018  raises where conditions go round in a circle
    return made


# ------------------------------------------------------------------ two spaces
def differences(old: Space, new: Space, *, additions: bool = False) -> list[str]:
    """Differences between two spaces, one a line; empty where every arm of `old` is one of `new`.

    A fixed value counts as a choice of one, so that ``activation=relu`` may grow to ``activation=relu,tanh``. Keys
    that configure where an arm runs and how it is observed do not count.

    Args:
        additions: also list added options; a grid can be extended by them, the study of a sampler cannot.
    """
    before, after = _by_key(old), _by_key(new)
    lines = [f"{key}: {_words(before[key])} is missing" for key in before if key not in after]
    lines += [f"{key}: {_words(after[key])} is new" for key in after if key not in before]
    for key in before:
        was, now = before[key], after.get(key)
        if now is None or was == now:
            continue
        if isinstance(was, Range) or isinstance(now, Range):
            lines.append(f"{key}: {_words(was)} became {_words(now)}")
            continue
        lost = [o for o in was.options if o not in now.options]
        added = [o for o in now.options if o not in was.options]
        if lost and not any(o in was.options for o in now.options):
            lines.append(f"{key}: {_words(was)} became {_words(now)}")
        elif lost:
            lines.append(f"{key}: without {', '.join(lost)}")
        if additions and added and not lost:
            lines.append(f"{key}: {', '.join(added)} added")
    if sorted(map(_condition_words, old.conditions)) != sorted(map(_condition_words, new.conditions)):
        was, now = ("; ".join(map(_condition_words, s.conditions)) or "none" for s in (old, new))
        lines.append(f"conditions: {was} became {now}")
    return lines


def extension_only(old: Space, new: Space) -> bool:
    """Whether `new` contains every arm of `old`: it is equal, or has more options."""
    return not differences(old, new)


def _by_key(space: Space) -> dict[str, Dimension]:
    fixed = {
        k: Choice(key=k, options=(v,)) for k, v in _fixed_values(space.fixed).items() if not _among(k, _NOT_TRAINED)
    }
    return {**fixed, **{strip_sign(d.key): d for d in space.dimensions}}


def _words(dimension: Dimension) -> str:
    if isinstance(dimension, Choice):
        return ", ".join(dimension.options)
    low, high = _number(dimension.low, dimension), _number(dimension.high, dimension)
    kind = [word for word, holds in (("integer", dimension.integer), ("log", dimension.log)) if holds]
    return f"interval {low} to {high}" + (f" ({', '.join(kind)})" if kind else "")


def _condition_words(condition: Condition) -> str:
    return f"{condition.key} where {condition.of} is {' or '.join(sorted(condition.values))}"


# ------------------------------------------------------------------ pieces
def _check(condition: Condition, space: Space) -> None:
    parent = next((d for d in space.dimensions if strip_sign(d.key) == condition.of), None)
    text = f"exists only where {condition.of} is {' or '.join(condition.values)}"
    if isinstance(parent, Range):
        raise ConfigError(condition.key, None, f"{text}, which is an interval here; give {condition.of} single values")
    given = parent.options if parent else (_fixed_values(space.fixed).get(condition.of),)
    if given != (None,) and not set(given) & set(condition.values):
        raise ConfigError(condition.key, None, f"{text}, and here it is {' or '.join(map(str, given))}")


def _options(dimension: Dimension) -> tuple[str, ...]:
    if isinstance(dimension, Range):
        raise ConfigError(dimension.key, _words(dimension), "a grid needs values; choose a sampler: study=tpe")
    return dimension.options


def _suggest(trial: BaseTrial, dimension: Dimension) -> str:
    if isinstance(dimension, Choice):
        # for Optuna, the same options in another order are a different parameter
        return str(trial.suggest_categorical(dimension.key, sorted(dimension.options)))
    if dimension.integer:
        return str(trial.suggest_int(dimension.key, int(dimension.low), int(dimension.high), log=dimension.log))
    return repr(float(trial.suggest_float(dimension.key, dimension.low, dimension.high, log=dimension.log)))


def _number(value: float, dimension: Range) -> str:
    return str(int(value)) if dimension.integer else f"{value:g}"


def _fixed_values(fixed: Sequence[str]) -> dict[str, str]:
    parts = [f.partition("=") for f in fixed]
    return {strip_sign(key): value for key, _, value in parts}


def _among(key: str, roots: Sequence[str]) -> bool:
    return key.replace("/", ".").partition(".")[0] in roots


def _condition_from_json(plain: Mapping[str, Any]) -> Condition:
    return Condition(key=plain["key"], of=plain["of"], values=tuple(plain["values"]))
