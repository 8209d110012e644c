"""Overrides that a process gets in its environment, since everybody can read its command line."""

from __future__ import annotations

import json
import os

#: JSON list of overrides; taken out of the environment at the start, so that no process below gets it
HIDDEN = "INITLAB_HIDDEN_OVERRIDES"


def take_hidden() -> list[str]:
    """The overrides of the environment, for once."""
    found = json.loads(os.environ.pop(HIDDEN, "[]"))
    return [str(override) for override in found]
