"""The version, where modules can read it without the package's public functions."""

from __future__ import annotations

__version__ = "0.1.0"
