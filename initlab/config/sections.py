"""Single sections of a composed configuration, for commands that train nothing."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf

from initlab.config.build import build_group, checked_value
from initlab.config.compose import resolve
from initlab.config.instantiate import section
from initlab.config.task_of_data import check_data
from initlab.spec import CompareSettings, StudySettings, TrackingSettings
from initlab.tracking.spool.metric_keys import record_key


def tracking_settings(config: DictConfig) -> TrackingSettings:
    """Only the `tracking` section of a composed configuration, for commands that train nothing."""
    return section(TrackingSettings, resolve(config), "tracking")


def study_settings(config: DictConfig) -> StudySettings:
    """Only the `study` section of a composed configuration."""
    tree = resolve(config)
    given = dict(tree.get("study") or {})
    metric = given.get("metric")
    if isinstance(metric, str):
        given["metric"] = record_key(metric)
    elif isinstance(metric, list):
        given["metric"] = [record_key(m) if isinstance(m, str) else m for m in metric]
    if given.get("cohort") is False:  # what YAML makes of the word off
        given["cohort"] = "off"
    return section(StudySettings, {**tree, "study": given}, "study")


def compare_settings(config: DictConfig) -> CompareSettings:
    """Only the `compare` section of a composed configuration; a study may be named by ``study.name`` too."""
    tree = resolve(config)
    given = dict(tree.get("compare") or {})
    # one word stands for a list of one
    given |= {k: [v] for k in ("study", "experiments", "baseline", "keys") if isinstance(v := given.get(k), (str, int))}
    if isinstance(metric := given.get("metric"), str):
        given["metric"] = record_key(metric)
    named = (tree.get("study") or {}).get("name")
    if not given.get("study") and named is not None:
        given["study"] = [named]
    if isinstance(given.get("study"), list):
        given["study"] = [str(name) for name in given["study"]]
    return section(CompareSettings, {"compare": given}, "compare")


def replicas(config: DictConfig) -> int:
    """How many seeds an arm is trained with: ``replicas``, 1 where it is not given."""
    return checked_value(resolve(config), "replicas", int, lambda v: v > 0, "must be an integer greater than 0")


def data_object(config: DictConfig) -> Any:
    """Only the data set of a composed configuration, for the `data` command."""
    return build_group(resolve(config), "data")


def task_object(config: DictConfig) -> Any:
    """Only the task, with its data set, of a composed configuration."""
    tree = resolve(config)
    check_data(tree)
    return build_group(tree, "task", extras={"data": build_group(tree, "data")})


def plain_node(config: DictConfig, key: str) -> object:
    """A node of the composed configuration as plain data, its interpolations as written; None where there is none."""
    node = config.get(key)
    return OmegaConf.to_container(node, resolve=False) if OmegaConf.is_config(node) else node
