"""Formats keys and values for MLflow: params, tags, length limits, batches."""

from __future__ import annotations

import re
from collections.abc import Mapping

from initlab.core.text import storable
from initlab.spec import Scalar

PAIRS_PER_BATCH = 100
# MLflow accepts requests of up to a million bytes; non-ASCII characters may grow sixfold in JSON
CHARACTERS_PER_BATCH = 150_000
PARAM_LENGTH = 6000
TAG_LENGTH = 8000
MLFLOW_STATUS = {
    "finished": "FINISHED",
    "diverged": "FINISHED",
    "stopped": "FINISHED",
    "killed": "KILLED",
    "failed": "FAILED",
}


def format_param(value: Scalar) -> str:
    """A parameter as text: None and booleans in YAML's words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return storable(str(value))


def truncate(text: str, length: int) -> str:
    """Shorten `text` with an ellipsis where the store does not allow more, and escape what cannot be stored."""
    text = storable(text)
    return text if len(text) <= length else text[: length - 1] + "…"


def clean_key(key: str) -> str:
    """`key` with the characters that MLflow does not allow replaced."""
    return re.sub(r"[^\w\-. :/]", "_", storable(key))[:250]


def batches(pairs: Mapping[str, str]) -> list[dict[str, str]]:
    """Split `pairs` into portions that fit one request."""
    portions: list[dict[str, str]] = [{}]
    size = 0
    for key, value in pairs.items():
        if len(portions[-1]) >= PAIRS_PER_BATCH or size + len(key) + len(value) > CHARACTERS_PER_BATCH:
            portions.append({})
            size = 0
        portions[-1][key] = value
        size += len(key) + len(value)
    return [portion for portion in portions if portion]
