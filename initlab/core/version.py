"""The package version, in a module that imports none of the public functions."""

from __future__ import annotations

__version__ = "0.1.0"
