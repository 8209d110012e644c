"""Keys and values in the form that MLflow takes."""

from __future__ import annotations

import re
from collections.abc import Mapping

from initlab.spec import Scalar

PAIRS_PER_BATCH = 100
# MLflow takes requests of up to a million bytes; other characters than ASCII may grow sixfold on the way
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


def as_text(value: Scalar) -> str:
    """A parameter as MLflow shows it: YAML's words for None and truth."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def cut(text: str, length: int) -> str:
    """`text` with an ellipsis where it is longer than the store allows; the whole is in the artifacts."""
    return text if len(text) <= length else text[: length - 1] + "…"


def clean_key(key: str) -> str:
    """`key` with the characters that MLflow does not allow replaced."""
    return re.sub(r"[^\w\-. :/]", "_", key)[:250]


def batches(pairs: Mapping[str, str]) -> list[dict[str, str]]:
    """`pairs` in portions that one request can carry."""
    portions: list[dict[str, str]] = [{}]
    size = 0
    for key, value in pairs.items():
        if len(portions[-1]) >= PAIRS_PER_BATCH or size + len(key) + len(value) > CHARACTERS_PER_BATCH:
            portions.append({})
            size = 0
        portions[-1][key] = value
        size += len(key) + len(value)
    return [portion for portion in portions if portion]
