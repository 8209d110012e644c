"""Calls the factories named by `_target_`, with arguments validated against their type annotations.

The annotations are the schema: `depth: PositiveInt` refuses 0 and "three", `mode: Literal["fan_in", "fan_out"]` names
its options in the error. A third party's factory gets the same validation by annotating its parameters.
"""

from __future__ import annotations

import inspect
import math
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, cast

from pydantic import ConfigDict, TypeAdapter, ValidationError

from initlab.config.targets import locate
from initlab.errors import ConfigError, InitlabError, nearest, one_of

T = TypeVar("T")
#: (target, its name, the group's other keys) → the object, or None where the target is called as a factory
Adapter = Callable[[Callable[..., Any], str, Mapping[str, Any]], Any]

#: largest integer (int64), largest size of a model, and longest text or list
LARGEST, LARGEST_OF_A_MODEL, LONGEST = 2**63 - 1, 10**6, 10_000


def section(kind: type[T], tree: Mapping[str, Any], group: str) -> T:
    """A frozen dataclass from a section without `_target_`, each key checked against its field's annotation."""
    return _call(kind, dict(tree.get(group) or {}), group)


def build(
    tree: Mapping[str, Any],
    group: str,
    *,
    extras: Mapping[str, Any] | None = None,
    choices: Callable[[], Iterable[str]] = tuple,
    packages: Iterable[str] = (),
    adapt: Adapter | None = None,
) -> Any:
    """Call the group's `_target_` with the group's other keys.

    Args:
        tree: the whole resolved configuration.
        group: name of the group.
        extras: objects built before, passed where the factory has a parameter of that name.
        choices: returns the files of the group, for the error where none was chosen.
        packages: allowed in `_target_` in addition to initlab, torch and torchvision.
        adapt: makes the object from a target that is no factory of initlab's kind (and its name, and the keys); None
            where it is one.

    Raises:
        ConfigError: naming the dotted key, the value and what is accepted.
    """
    node = tree.get(group)
    if not isinstance(node, dict) or "_target_" not in node:
        raise ConfigError(group, None, f"no file was chosen; {one_of(choices())}")
    arguments = dict(cast("dict[str, Any]", node))
    target = arguments.pop("_target_")
    _no_target_below(arguments, group)
    factory = locate(target, f"{group}._target_", packages)
    adapted = None if adapt is None else adapt(factory, str(target), arguments)
    return _call(factory, arguments, group, extras) if adapted is None else adapted


def _no_target_below(node: Any, key: str) -> None:
    """Raises ConfigError for a nested `_target_`: it would be ignored silently."""
    if isinstance(node, dict):
        for name, value in cast("dict[Any, Any]", node).items():
            if str(name) in ("_target_", "_partial_", "_recursive_", "_convert_", "_args_"):
                raise ConfigError(f"{key}.{name}", str(value)[:80], "is not allowed here: one _target_ a group")
            _no_target_below(value, f"{key}.{name}")
    elif isinstance(node, list):
        for number, value in enumerate(cast("list[Any]", node)):
            _no_target_below(value, f"{key}.{number}")


def _call(
    factory: Callable[..., T], arguments: dict[str, Any], group: str, extras: Mapping[str, Any] | None = None
) -> T:
    """Call `factory` with arguments checked against its annotations; errors name `group.key`."""
    parameters = inspect.signature(factory).parameters
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    accepted = {k: v for k, v in (extras or {}).items() if k in parameters or takes_any}
    checked = check_arguments(factory, arguments, group, given=accepted, hidden=extras or ())
    try:
        return factory(**checked, **accepted)
    except ConfigError as error:
        raise (error if error.key.split(".")[0] == group else error.under(group)) from error
    except InitlabError:
        raise
    except (TypeError, ValueError) as error:
        raise ConfigError(group, None, f"{getattr(factory, '__name__', factory)}: {error}") from error


def check_arguments(
    factory: Callable[..., Any],
    arguments: Mapping[str, Any],
    group: str,
    *,
    given: Iterable[str] = (),
    hidden: Iterable[str] = (),
) -> dict[str, Any]:
    """The arguments, each checked against the annotation of its parameter.

    Args:
        given: names of parameters that somebody else gives; they may be among the arguments.
        hidden: names that errors do not offer.

    Raises:
        ConfigError: naming `group.key`: one that is unknown, of a wrong value, or missing.
    """
    parameters, hints, others = inspect.signature(factory).parameters, hints_of(factory), set(given)
    known = [k for k in parameters if k not in set(hidden)]
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    checked: dict[str, Any] = {}
    for key, value in arguments.items():
        if key not in parameters and not takes_any:
            raise ConfigError(f"{group}.{key}", value, f"unknown key; {one_of(known, key)}")
        checked[key] = _validate(f"{group}.{key}", value, hints.get(key))
    missing = [
        k for k, p in parameters.items()
        if p.default is inspect.Parameter.empty and k not in checked and k not in others
        and p.kind in (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    ]  # fmt: skip
    if missing:
        raise ConfigError(f"{group}.{missing[0]}", None, f"must be given: add {group}.{missing[0]}=...")
    return checked


def hints_of(factory: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of a factory's parameters and result, evaluated; empty where they cannot be."""
    source = factory.__init__ if isinstance(factory, type) and not hasattr(factory, "__dataclass_fields__") else factory
    try:
        return typing.get_type_hints(source, include_extras=True)
    except (NameError, TypeError):
        # a foreign factory whose annotations cannot be evaluated is called unchecked; it raises its own errors
        return {}


def _validate(key: str, value: Any, hint: Any) -> Any:
    _check_size(key, value)
    if hint is None:
        return value
    # True is an int in Python; as a depth or a rate it is a mistake
    if isinstance(value, bool) and bool not in _leaves(hint):
        raise ConfigError(key, value, f"must be {_words(hint)}")
    try:
        config = ConfigDict(arbitrary_types_allowed=True)
        return TypeAdapter(hint, config=config).validate_python(value)
    except ValidationError as error:
        raise ConfigError(key, value, _error_sentence(error, value)) from error
    except Exception as error:  # an annotation without a pydantic schema; its own package has to check it
        if type(error).__module__.startswith("pydantic"):
            return value
        raise


def _check_size(key: str, value: Any) -> None:
    """Raises ConfigError for values of an absurd size, before anything is allocated."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(key, value, "must be a finite number")
    most = LARGEST_OF_A_MODEL if key.startswith("model.") else LARGEST
    if isinstance(value, int) and abs(value) > most:
        raise ConfigError(key, _cut(value), f"is too large: {most} is the most")
    if isinstance(value, str) and len(value) > LONGEST:
        raise ConfigError(key, _cut(value), f"is too long: {LONGEST} characters are the most")
    if isinstance(value, (list, tuple)):
        listed = cast("list[Any]", value)
        if len(listed) > LONGEST:
            raise ConfigError(key, f"[{len(listed)} items]", f"is too long: {LONGEST} items are the most")
        for item in listed:
            _check_size(key, item)


def _cut(value: object) -> str:
    # int() refuses to print numbers of thousands of digits
    text = f"about 10^{value.bit_length() * 3 // 10}" if isinstance(value, int) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _leaves(hint: Any) -> set[Any]:
    args = typing.get_args(hint)
    return {hint} if not args else set[Any]().union(*(_leaves(a) for a in args))


def _words(hint: Any) -> str:
    kinds = {float: "a number", int: "an integer", str: "text"}
    names = [kinds[leaf] for leaf in kinds if leaf in _leaves(hint)]
    return " or ".join(names) or "another kind of value"


def _error_sentence(error: ValidationError, value: object) -> str:
    """One sentence about what is accepted, from all branches of a union that pydantic tried."""
    parts: list[str] = []
    for item in error.errors():
        text = str(item["msg"]).removeprefix("Value error, ").replace("Field required", "is missing")
        text = text.replace("Input should be ", "").replace(", unable to parse string as a number", "")
        where = ".".join(str(p) for p in item["loc"] if isinstance(p, int))
        text = f"item {where}: {text}" if where else text
        if text not in parts:
            parts.append(text)
    hint = ""
    literals = [
        str(item.get("ctx", {}).get("expected", "")) for item in error.errors() if item["type"] == "literal_error"
    ]
    if isinstance(value, str) and literals:
        near = nearest([w.strip(" '") for w in literals[0].replace(" or ", ",").split(",")], value)
        hint = f"did you mean {near}? " if near else ""
    return f"{hint}must be {' or '.join(parts)}"
