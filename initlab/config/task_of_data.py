"""Checks that the data set belongs to the chosen task, before anything is built."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from initlab.errors import ConfigError

_TASKS = ("speech", "text", "synthetic")
#: data sets that read the same kind of place for another task, by task
_ALIKE = (
    {"image": "hf_folder", "speech": "hf_audio", "text": "hf_text"},
    {"image": "image_folder", "speech": "audio_folder"},
)


def check_data(tree: Mapping[str, Any]) -> None:
    """Raise ConfigError where the data set is made for another of initlab's tasks than the one that was chosen."""
    data, task = ((tree.get(group) or {}).get("_target_", "") for group in ("data", "task"))
    wanted, chosen = _task(str(data)), _task(str(task))
    if wanted is not None and chosen is not None and wanted != chosen:
        name = str(data).rpartition(".")[2]
        other = next((f", or data={a[chosen]}" for a in _ALIKE if a.get(wanted) == name and chosen in a), "")
        raise ConfigError("data", name, f"is for task={wanted}, this is task={chosen}; add task={wanted}{other}")


def task_of_data(name: str, folder: Path) -> str | None:
    """The task that ``data=name`` is for, read from its file in `folder`; None where that is unknown."""
    file = folder / f"{name}.yaml"
    if not file.is_file():
        return None
    content = OmegaConf.to_container(OmegaConf.load(file))
    if isinstance(content, dict) and "_target_" in content:
        return _task(str(content["_target_"]))
    return name if name in _TASKS else None


def _task(target: str) -> str | None:
    parts = target.split(".")
    if parts[:2] != ["initlab", "tasks"] or len(parts) < 3:
        return None
    return parts[2] if parts[2] in _TASKS else "image"
