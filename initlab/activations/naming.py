"""Parses an activation from text: a catalogue name, a name with arguments, or a formula in x."""

from __future__ import annotations

import ast
import difflib
import inspect
import re
import typing
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from initlab.activations.expression import expr
from initlab.errors import ConfigError, one_of
from initlab.spec import Activation

KEY = "activation"
_NAME = re.compile(r"\s*([A-Za-z_]\w*)\s*")
_MAX_LENGTH = 1000


def factories() -> Mapping[str, Callable[..., Activation]]:
    """Catalogue name → factory: each exported function with keyword arguments that returns an Activation."""
    # the package imports the mixtures, which import this file: its contents are looked up when they are complete
    from initlab import activations

    found: dict[str, Callable[..., Activation]] = {}
    for name in activations.__all__:
        member = getattr(activations, name)
        if not inspect.isfunction(member) or member.__annotations__.get("return") != "Activation":
            continue
        kinds = {p.kind for p in inspect.signature(member).parameters.values()}
        if kinds <= {inspect.Parameter.KEYWORD_ONLY}:
            found[name] = member
    return found


def parse_activation(text: str) -> Activation:
    """Parses an activation: ``gelu``, ``leaky_relu(negative_slope=0.2)`` or ``x*tanh(softplus(x))``.

    Arguments are literals with their names; their values are checked as in the configuration.

    Raises:
        ConfigError: under ``activation`` where there is no such name, with the nearest; under ``activation.f`` where a
            formula is not understood.
    """
    if len(text) > _MAX_LENGTH:
        raise ConfigError(KEY, text[:20] + "...", f"must have at most {_MAX_LENGTH} characters")
    known = factories()
    whole = _NAME.fullmatch(text)
    if whole is not None and whole[1] != "x":
        return _build(known, whole[1], {}, text)
    call = _call(text)
    if call is not None and isinstance(call.func, ast.Name) and not call.args:
        return _build(known, call.func.id, _literals(call, text), text)
    return expr(f=text)


def _call(text: str) -> ast.Call | None:
    """The text as one call, or None where it is something else (then the formula parser reports the error)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks on odd literals; the reader of formulas refuses those
            tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None
    return tree if isinstance(tree, ast.Call) else None


def _literals(call: ast.Call, text: str) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    for keyword in call.keywords:
        if keyword.arg is None:
            raise ConfigError(KEY, text, "takes arguments as name=value")
        try:
            arguments[keyword.arg] = ast.literal_eval(keyword.value)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
            raise ConfigError(KEY, text, f"{keyword.arg} must be a number, a text or a list of them") from error
    return arguments


def _build(
    known: Mapping[str, Callable[..., Activation]], name: str, arguments: dict[str, Any], text: str
) -> Activation:
    factory = known.get(name)
    if factory is None:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        nearest = f"near it: {', '.join(near)}; " if near else ""
        raise ConfigError(KEY, text, f"is no activation; {nearest}{one_of(known)}; or write a formula in x")
    hints = typing.get_type_hints(factory, include_extras=True)
    accepted = list(inspect.signature(factory).parameters)
    checked: dict[str, Any] = {}
    for key, value in arguments.items():
        if key not in accepted:
            takes = one_of(accepted, key) if accepted else "it takes no arguments"
            raise ConfigError(KEY, text, f"{name} has no {key}; {takes}")
        checked[key] = _validate(value, hints[key], f"{name}: {key}", text)
    missing = [
        k
        for k, p in inspect.signature(factory).parameters.items()
        if p.default is inspect.Parameter.empty and k not in checked
    ]
    if missing:
        raise ConfigError(KEY, text, f"{name} needs {missing[0]}: write {name}({missing[0]}=...)")
    return factory(**checked)


def _validate(value: Any, hint: Any, what: str, text: str) -> Any:
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(hint).validate_python(value)
    except ValidationError as error:
        reason = str(error.errors()[0]["msg"]).replace("Input should be ", "")
        raise ConfigError(KEY, text, f"{what} must be {reason}") from error
