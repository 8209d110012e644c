"""The arms of a claim's parts before anything is trained, and whether each check names the arms that it needs."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from itertools import product

from initlab.errors import ConfigError
from initlab.papers.claim import Check, Claim, Drawing, Part

#: values that Hydra expands
_SWEEP = re.compile(r"(range|interval|choice|glob|tag|sort|shuffle)\(")
#: stands for the part among the keys of an arm
_PART = "part"
#: most arms that are written out
_MOST = 10_000


def overrides_of(claim: Claim, part: Part, *, quick: bool) -> tuple[str, ...]:
    """What a study is typed with; those of a quick look stand in place of the part's own of the same keys."""
    small = claim.quick or () if quick else ()
    keys = {key_of(o) for o in small}
    return (*(o for o in part.overrides if key_of(o) not in keys), *small)


def key_of(override: str) -> str:
    """The configuration key of an override."""
    return override.partition("=")[0].lstrip("+")


def choices_of(override: str) -> list[str] | None:
    """The values of an override; None where Hydra makes them from a formula.

    Example:
        >>> choices_of("init=he,xavier"), choices_of("model.depth=range(1,4)"), choices_of("init.keep=[a,b]")
        (['he', 'xavier'], None, ['[a,b]'])
    """
    value, depth, quote = override.partition("=")[2], 0, ""
    if _SWEEP.match(value):
        return None
    words = [""]
    for letter in value:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        depth += (letter in "[{(") - (letter in ")}]")
        if letter == "," and not depth and not quote:
            words.append("")
        else:
            words[-1] += letter
    return [w.strip().strip("'\"") for w in words]


def arms_of(claim: Claim, part: Part, *, quick: bool = False) -> list[dict[str, str]] | None:
    """The typed keys and values of each arm of a part; None where they are made from formulas or conditions."""
    if part.measure:
        return [{key_of(o): o.partition("=")[2].strip("'\"") for o in arm} for arm in part.arms]
    overrides = overrides_of(claim, part, quick=quick)
    keys, values = [key_of(o) for o in overrides], [choices_of(o) for o in overrides]
    known = [v for v in values if v is not None]
    if len(known) < len(values) or "study.conditions" in keys or math.prod(map(len, known)) > _MOST:
        return None
    return [dict(zip(keys, chosen, strict=True)) for chosen in product(*known)]


def check_arms(claim: Claim, *, quick: bool = False) -> None:
    """See before anything is trained that the arms of every check are there, and its numbers are of one arm.

    What is not typed in the claim, but in the experiment around it, is seen when the runs are there.

    Raises:
        ConfigError: a check names an arm that is not there or fits several; a key that must vary does not.
    """
    arms = {p.name: arms_of(claim, p, quick=quick) for p in claim.parts}
    for i, check in enumerate(claim.checks):
        parts = [check.part] if check.part else list(arms)
        if any(arms[p] is None for p in parts):
            continue
        every = [{**a, _PART: p} for p in parts for a in arms[p] or ()]
        key = f"{claim.name}: claim.checks[{i}]"
        for name in ("arm", *(n for n in ("minus", "over") if getattr(check, n))):
            _check_arm(f"{key}.{name}", getattr(check, name), check, every)
    if claim.figure is not None:
        _check_axes(f"{claim.name}: claim.figure", claim.figure, arms)


# ------------------------------------------------------------------ pieces
def _check_arm(key: str, text: str, check: Check, arms: Sequence[Mapping[str, str]]) -> None:
    wanted = dict(w.split("=", 1) for w in text.split())
    fit = [a for a in arms if all(k not in a or same_value(a[k], v) for k, v in wanted.items())]
    if not fit:
        raise ConfigError(key, text, f"is no arm of the studies; there are {_listed(arms)}")
    axes = [k for k in (check.slope, check.best, check.at_best) if k]
    for axis in axes:
        values = {a.get(axis) for a in fit}
        if len(values) < 2 or None in values or not all(_is_number(v) for v in values if v is not None):
            found = ", ".join(sorted(v for v in values if v is not None)) or "none"
            raise ConfigError(key, text, f"needs two numbers or more of {axis} among its arms; there are {found}")
    left = {tuple(sorted((k, v) for k, v in a.items() if k not in axes)) for a in fit}
    if len(left) > 1:
        raise ConfigError(
            key, text or None, f"names {len(left)} arms and must name one: {_listed([dict(a) for a in sorted(left)])}"
        )


def _check_axes(key: str, drawing: Drawing, arms: Mapping[str, Sequence[Mapping[str, str]] | None]) -> None:
    """The axes of lines and grids are keys whose values are numbers."""
    some = [arms[p] for p in ([drawing.part] if drawing.part else arms)]
    if any(s is None for s in some):
        return
    for name, axis in (("x", drawing.x), ("y", drawing.y)):
        values = {a[axis] for s in some if s is not None for a in s if axis in a}
        if axis and (not values or not all(map(_is_number, values))):
            raise ConfigError(f"{key}.{name}", axis, "must be a key that the arms set to numbers")


def same_value(found: str, wanted: str) -> bool:
    """Whether two words are the same value: 1e-3 is 0.001, True is true."""
    try:
        return math.isclose(float(found), float(wanted), rel_tol=1e-9)
    except ValueError:
        return found.lower() == wanted.lower()


def number_in(text: str | None) -> float:
    """The number that a word is; NaN where it is none."""
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan


def _is_number(text: str) -> bool:
    return math.isfinite(number_in(text))


def _listed(arms: Sequence[Mapping[str, str]]) -> str:
    words = [" ".join([*(f"{k}={v}" for k, v in a.items() if k != _PART), f"({a[_PART]})"]) for a in arms]
    return ", ".join(words[:6]) + (f" and {len(words) - 6} more" if len(words) > 6 else "")
