"""Parses an initialiser from one line of text: ``he``, ``normal(std=0.1)``, ``lsuv(base="orthogonal")``."""

from __future__ import annotations

import ast
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from initlab.errors import ConfigError, one_of
from initlab.spec import Initializer

#: other names of the same thing
ALIASES = {"glorot": "xavier", "kaiming": "he", "rezero": "skipinit"}


def catalogue() -> dict[str, Callable[..., Initializer]]:
    """Name → factory of all initialisers in `initlab.inits`."""
    from initlab import inits  # the package imports this module

    found: dict[str, Callable[..., Initializer]] = {}
    for name in inits.__all__:
        factory = getattr(inits, name)
        if (
            inspect.isfunction(factory)
            and name != "parse_initializer"
            and inspect.get_annotations(factory).get("return") in ("Initializer", Initializer)
        ):
            found[name] = factory
    return found | {alias: found[name] for alias, name in ALIASES.items()}


def parse_initializer(
    text: str, *, key: str = "init", more: Mapping[str, Callable[..., Initializer]] | None = None
) -> Initializer:
    """Parses the initialiser that `text` names.

    Args:
        text: a name of the catalogue, with or without arguments: ``he``, ``he(gain=2)``, ``normal(std=0.1)``. Values
            are numbers, quoted text, booleans, None, lists and mappings of these.
        key: of the configuration, for the errors.
        more: factories beside the catalogue's.

    Raises:
        ConfigError: an unknown name (with the nearest one), an unknown argument, a value that is not accepted.
    """
    name, arguments = _parse(text, key)
    factories = catalogue() | dict(more or {})
    if name not in factories:
        raise ConfigError(key, text, one_of(factories, name))
    factory = factories[name]
    accepted = inspect.signature(factory).parameters
    hints = typing.get_type_hints(factory, include_extras=True)
    for argument in arguments:
        if argument not in accepted:
            raise ConfigError(key, text, f"{name} has no {argument}; {one_of(accepted, argument)}")
    checked = {k: _validated(v, hints.get(k), f"{name}({k}=...)", key, text) for k, v in arguments.items()}
    try:
        return factory(**checked)
    except ConfigError as error:
        raise (error if error.key.split(".")[0] == "init" else error.under(key)) from error


def _parse(text: str, key: str) -> tuple[str, dict[str, Any]]:
    expected = "must be a name, or a name with arguments such as normal(std=0.1)"
    try:
        node = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError) as error:
        raise ConfigError(key, text, expected) from error
    if isinstance(node, ast.Name):
        return node.id, {}
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.args:
        raise ConfigError(key, text, expected)
    arguments: dict[str, Any] = {}
    for keyword in node.keywords:
        if keyword.arg is None:
            raise ConfigError(key, text, expected)
        try:
            arguments[keyword.arg] = ast.literal_eval(keyword.value)
        except ValueError as error:
            given = ast.unparse(keyword.value)
            raise ConfigError(
                key, text, f"{keyword.arg}={given}: must be a number, true or false, or text in quotes"
            ) from error
    return node.func.id, arguments


def _validated(value: Any, hint: Any, where: str, key: str, text: str) -> Any:
    if hint is None:
        return value
    try:
        return TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True)).validate_python(value)
    except ValidationError as error:
        reasons = " or ".join(dict.fromkeys(str(e["msg"]).replace("Input should be ", "") for e in error.errors()))
        raise ConfigError(key, text, f"{where} must be {reasons}") from error
