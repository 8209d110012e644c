"""Configuration of a follow-up run: the saved one of the original run, changed by a remedy."""

from __future__ import annotations

from collections.abc import Sequence

from omegaconf import DictConfig, OmegaConf

from initlab.config.compose import compose, groups
from initlab.config.resume import saved_overrides


def compose_follow_up(saved: str, overrides: Sequence[str]) -> DictConfig:
    """The configuration that a run saved, with `overrides` in place of what they replace.

    A group (``init=he``) is replaced completely by its file, so that settings of the former file do not remain; a
    single value (``optimizer.lr=0.01``) is changed in place. Nothing else is read from the current `conf/`.

    Raises:
        ConfigError: for a file that does not exist.
    """
    merged = OmegaConf.create(saved)
    assert isinstance(merged, DictConfig)
    known = groups()
    for override in overrides:
        key = override.partition("=")[0]
        if key in known:
            merged[key] = compose([override])[key]
        else:
            merged.merge_with(OmegaConf.from_dotlist([override]))
    merged["resume"] = None
    merged["config"] = {}
    # its password was not saved: the environment provides the URI again (MLFLOW_TRACKING_URI)
    if "***" in str(OmegaConf.select(merged, "tracking.uri")):
        merged.tracking.uri = None
    return merged


def original_overrides(saved: str) -> list[str]:
    """The overrides of a saved configuration, without ``resume=``."""
    return [o for o in saved_overrides(saved) if not o.startswith("resume=")]
