"""Parses one override in Hydra's sweep grammar: a fixed value, a choice among values, or an interval.

Values are text as typed on the command line: ``he``, ``0.1``, ``he(gain=2)``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from initlab.config import groups, quote_formulas
from initlab.errors import ConfigError, one_of

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

_OPEN, _CLOSE, _QUOTES = "([{", ")]}", "'\""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A key that takes one of a few values, as text."""

    key: str
    options: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Range:
    """A key that takes any number from `low` to `high`, both included.

    Attributes:
        log: drawn evenly on a logarithmic scale.
        integer: whole numbers alone.
    """

    key: str
    low: float
    high: float
    log: bool = False
    integer: bool = False


Dimension = Choice | Range


def parse_override(text: str) -> tuple[str, str | Dimension]:
    """The key of an override, with ``+`` or ``~`` where it has one, and its value.

    The value is the override itself where it has a single value, else a dimension.

    Raises:
        ConfigError: text that cannot be parsed, or a sweep without values.
    """
    override = _parse(text)
    key = override.get_key_element()
    return key, _dimension(key, override, text) if override.is_sweep_override() else _fixed(key, override)


def strip_sign(key: str) -> str:
    """The key without ``+``, ``++`` or ``~``."""
    return key.lstrip("+~")


def _parse(text: str) -> Override:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        return OverridesParser.create().parse_overrides(_quote_formulas(text))[0]
    except (HydraException, ArithmeticError, ValueError, TypeError) as error:
        said = " ".join(str(error).split("See https://")[0].split())
        key = text.partition("=")[0]
        raise ConfigError(key, _value(text), f"cannot be read; {said}") from error


def _quote_formulas(text: str) -> list[str]:
    """The override with formulas in quotes, also where several are swept: ``init.weight=he(gain=2),he(gain=1)``."""
    key, _, value = text.partition("=")
    inner = value[len("choice(") : -1] if value.startswith("choice(") and value.endswith(")") else value
    pieces = _split_at_commas(inner)
    if not strip_sign(key).startswith("init.") or (len(pieces) == 1 and inner == value):
        return quote_formulas([text])
    quoted = ",".join(q.partition("=")[2] for q in quote_formulas(f"{key}={piece}" for piece in pieces))
    return [f"{key}={quoted}" if inner == value else f"{key}=choice({quoted})"]


def _split_at_commas(text: str) -> list[str]:
    """Split `text` at the commas outside brackets and quotes."""
    pieces, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in _QUOTES:
            quote = character
        depth += (character in _OPEN) - (character in _CLOSE) if not quote else 0
        if character == "," and not depth and not quote:
            pieces.append("")
        else:
            pieces[-1] += character
    return [piece.strip() for piece in pieces]


def _dimension(key: str, override: Override, text: str) -> Dimension:
    from hydra.core.override_parser.types import Glob, IntervalSweep, Sweep
    from hydra.errors import HydraException

    value = cast("Any", override.value())
    if strip_sign(key) == "seed":
        raise ConfigError("seed", _value(text), "seeds are replicas: use replicas=R")
    tags = value.tags if isinstance(value, Sweep) else set[str]()
    if tags - {"log"} or (tags and not isinstance(value, IntervalSweep)):
        raise ConfigError(key, _value(text), "the only tag is log, of an interval: tag(log, interval(1e-4,1e-1))")
    if isinstance(value, IntervalSweep):
        return _range(key, value, text)
    if isinstance(value, Glob):
        options = value.filter(_files(key, text))
    elif getattr(value, "shuffle", False):
        raise ConfigError(key, _value(text), "a study has one order of arms; leave shuffle() out")
    else:
        try:
            options = [_text(key, element) for element in override.sweep_iterator()]
        except (HydraException, ArithmeticError, ValueError, TypeError) as error:
            raise ConfigError(key, _value(text), f"cannot be counted through; {error}") from error
    if not options:
        raise ConfigError(key, _value(text), "has no values")
    return Choice(key=key, options=tuple(dict.fromkeys(options)))


def _range(key: str, value: Any, text: str) -> Range:
    low, high = cast("float", value.start), cast("float", value.end)
    log, integer = "log" in value.tags, isinstance(low, int) and isinstance(high, int)
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ConfigError(key, _value(text), "an interval must go from a number to a greater one")
    if log and low <= 0:
        raise ConfigError(key, _value(text), "a logarithmic interval must begin above 0")
    return Range(key=key, low=low, high=high, log=log, integer=integer)


def _files(key: str, text: str) -> list[str]:
    known = groups()
    if key not in known:
        raise ConfigError(key, _value(text), f"glob() chooses files of a group; {one_of(known, key)}")
    return known[key]


def _fixed(key: str, override: Override) -> str:
    if override.value_type is None:  # ~key
        return str(override.input_line)
    return f"{key}={_text(key, cast('Any', override)._value)}"


def _text(key: str, element: Any) -> str:
    """The shortest text that parses back to `element`: ``he(gain=2)`` has no quotes, the string ``"1"`` has."""
    from hydra.core.override_parser.types import Override, QuotedString

    if isinstance(element, bool):
        return str(element).lower()
    if not isinstance(element, (str, QuotedString)):
        return cast("str", cast("Any", Override)._get_value_element_as_str(element))
    plain = element if isinstance(element, str) else element.text
    typed = "" if isinstance(element, QuotedString) else cast("Any", Override)._get_value_element_as_str(element)
    for text in (plain, typed):
        try:
            parse_override = _parse(f"{key}={text}")
        except ConfigError:
            continue
        if (
            text
            and not parse_override.is_sweep_override()
            and parse_override.value() == plain
            and isinstance(parse_override.value(), str)
        ):
            return text
    return QuotedString(text=plain, quote=_double()).with_quotes()


def _double() -> Any:
    from hydra.core.override_parser.types import Quote

    return Quote.double


def _value(text: str) -> str | None:
    return text.partition("=")[2] or None


def arm_text(arm: Mapping[str, str]) -> str:
    """An arm as text that is the same for every order of its keys."""
    return json.dumps(dict(arm), sort_keys=True)


def read_dimension(plain: Mapping[str, Any]) -> Dimension:
    """The dimension of which `dataclasses.asdict` made `plain`."""
    if "options" in plain:
        return Choice(key=plain["key"], options=tuple(plain["options"]))
    return Range(**plain)
