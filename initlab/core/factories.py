"""Marks the functions and classes that a configuration may name in `_target_`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])
_MARK = "__initlab_factory__"


def factory(target: F) -> F:
    """Register `target` as a factory: a configuration file may name it in `_target_`.

    A public function without this decorator cannot be named, wherever it is defined or imported.

    Example:
        >>> is_factory(factory(lambda: None)), is_factory(print)
        (True, False)
    """
    setattr(target, _MARK, _name_of(target))
    return target


def is_factory(target: object) -> bool:
    """Whether `target` itself was registered; subclasses and wrappers of a factory were not."""
    return getattr(target, "__dict__", {}).get(_MARK) == _name_of(target)


def _name_of(target: object) -> str:
    return f"{getattr(target, '__module__', '')}.{getattr(target, '__qualname__', '')}"
