"""Composes the configuration of an arm with Hydra, or loads the one that was saved for the workers.

Nothing in here imports torch; `experiment_of` does when it is called.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from initlab import config as configuration
from initlab.core import durable
from initlab.core.redact import has_password
from initlab.spec import Experiment
from initlab.study.space.plan import Plan

#: characters of a run's name
_LONGEST = 200

if TYPE_CHECKING:
    from omegaconf import DictConfig


def compose_arm(plan: Plan, arm: Mapping[str, str]) -> DictConfig:
    """The configuration of an arm: the one saved when the study started, else composed from the study's own files.

    Raises:
        InitlabError: a combination that does not compose.
    """
    file = plan.arm_config_path(arm)
    if file.is_file():
        from omegaconf import OmegaConf

        return cast("DictConfig", OmegaConf.create(json.loads(file.read_text(encoding="utf-8"))))
    return configuration.compose(plan.space.overrides(dict(arm)), folder=plan.conf, searchpath=plan.places)


def save_arm_config(plan: Plan, arm: Mapping[str, str], config: DictConfig) -> None:
    """Save a composed arm for the workers: composing takes as long as a tiny run."""
    from omegaconf import OmegaConf

    file = plan.arm_config_path(arm)
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_suffix(f".{os.getpid()}.tmp")
        text = json.dumps(OmegaConf.to_container(config, resolve=False))
        temporary.touch()
        # as for plan.json: the workers need a password that the tracker's or the study's URL has
        temporary.chmod(0o600 if has_password(text) else 0o644)
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
        durable.replace(temporary, file, keep=False)


def experiment_of(
    plan: Plan, arm: Mapping[str, str], *, trial: int | None = None, config: DictConfig | None = None
) -> Experiment:
    """The experiment of the first replica of an arm.

    Raises:
        InitlabError: a combination that does not compose.
    """
    overrides = plan.space.overrides(dict(arm))
    decided = configuration.experiment(config or compose_arm(plan, arm), overrides=overrides)
    tags = {"initlab.study": plan.name}
    if trial is not None:
        tags["initlab.trial"] = str(trial)
    if plan.parent:
        tags["mlflow.parentRunId"] = plan.parent
    where = replace(decided.tracking, tags={**decided.tracking.tags, **tags}, system_metrics=False)
    return replace(decided, name=run_name(arm, decided.seed) or decided.name, tracking=where)


def run_name(arm: Mapping[str, str], seed: int) -> str:
    """Name of a run of a study: what tells its arm from the others, and the seed.

    Example:
        >>> run_name({"init": "he", "activation": "relu", "optimizer.lr": "0.01"}, 3)
        'he-relu-lr=0.01-s3'
    """
    parts = [v if "." not in k and "/" not in k else f"{k.rpartition('.')[2]}={_short(v)}" for k, v in arm.items()]
    return "-".join([*parts, f"s{seed}"])[:_LONGEST] if parts else ""


def _short(value: str) -> str:
    """A number with three digits, other values as they are."""
    try:
        return f"{float(value):.3g}" if not value.isdigit() else value
    except ValueError:
        return value
