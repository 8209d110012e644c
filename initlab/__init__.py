"""initlab: which weight initialisation and which activation should a network have, and why."""

from __future__ import annotations

__version__ = "0.1.0"
