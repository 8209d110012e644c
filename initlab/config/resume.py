"""Configuration of a resumed run: its saved one, with the typed values applied."""

from __future__ import annotations

import json
from collections.abc import Iterable

from omegaconf import DictConfig, OmegaConf

from initlab.config.compose import groups
from initlab.errors import ConfigError

#: first line of a saved configuration: the overrides that were typed
TYPED = "# overrides: "


def saved_overrides(saved: str) -> list[str]:
    """The overrides of a saved configuration, without `config.targets` (trusted packages)."""
    first = saved.partition("\n")[0]
    typed: list[str] = json.loads(first.removeprefix(TYPED)) if first.startswith(TYPED) else []
    return [o for o in typed if not o.lstrip("+").startswith("config.")]


def resume_config(saved: str, config: DictConfig, overrides: Iterable[str]) -> DictConfig:
    """The configuration of a resumed run: its own, with the values typed beside `resume=` applied.

    Another file of a group would be another run, so only single values (``trainer.epochs=20``) and the group
    ``tracking`` can be changed.

    Raises:
        ConfigError: for a group override.
    """
    merged = OmegaConf.create(saved)
    assert isinstance(merged, DictConfig)
    merged["resume"] = config.resume
    merged["tracking"] = config.tracking
    # the store may belong to somebody else: only the current user can grant trust
    merged["config"] = config.get("config") or {}
    for override in overrides:
        key, _, _ = override.lstrip("+").partition("=")
        if key in ("resume", "tracking") or key.startswith(("tracking.", "hydra")):
            continue
        if key in groups() or override.startswith("~"):
            raise ConfigError(
                key, None, "cannot be changed when a run is resumed; start a new run, or change single values"
            )
        OmegaConf.update(merged, key, OmegaConf.select(config, key))
    return merged
