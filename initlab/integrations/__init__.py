"""Adapters of `initlab.watch` for training frameworks: `lightning`, `transformers`, `keras`.

Each is imported by its own name and needs that framework: ``from initlab.integrations.lightning import WatchCallback``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from initlab.integrations import keras, lightning, transformers

__all__ = ["keras", "lightning", "transformers"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
