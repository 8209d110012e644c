"""Factories that share keyword arguments: settings of dataclasses as parameters of a function."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def with_parameters_of(
    *settings: object, rename: Mapping[str, str] | None = None, omit: tuple[str, ...] = ()
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Show the fields of `settings` as keyword parameters of a function that takes them as ``**`` arguments.

    The configuration checks arguments against a factory's signature and annotations; after this decorator it finds
    there what the function hands on to the dataclasses.

    Args:
        settings: instances of dataclasses; their values are the defaults.
        rename: field → name of the parameter, where they differ.
        omit: fields that are no parameters.

    Example:
        >>> import inspect
        >>> from dataclasses import dataclass
        >>> @dataclass
        ... class Size:
        ...     width: int = 3
        >>> @with_parameters_of(Size(width=4))
        ... def box(*, name: str, **size: int) -> str:
        ...     return name
        >>> str(inspect.signature(box))
        "(*, name: 'str', width: int = 4) -> 'str'"
    """

    def expand(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)
        parameters = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
        hints: dict[str, Any] = {p.name: function.__annotations__[p.name] for p in parameters}
        for instance in settings:
            types = typing.get_type_hints(type(instance), include_extras=True)
            for field in fields(instance):  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
                if field.name in omit:
                    continue
                name = (rename or {}).get(field.name, field.name)
                hints[name] = types[field.name]
                default = getattr(instance, field.name)
                keyword = inspect.Parameter.KEYWORD_ONLY
                parameters.append(inspect.Parameter(name, keyword, default=default, annotation=types[field.name]))
        function.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        function.__annotations__ = {**hints, "return": function.__annotations__.get("return")}
        return function

    return expand


def fields_among(kind: type, settings: Mapping[str, Any], rename: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Those of `settings` that are fields of the dataclass `kind`, under the fields' names."""
    found: dict[str, Any] = {}
    for field in fields(kind):
        name = (rename or {}).get(field.name, field.name)
        if name in settings:
            found[field.name] = settings[name]
    return found
