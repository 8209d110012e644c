"""From YAML and overrides to a frozen, typed `Experiment`. The only room, with `__main__`, that imports Hydra."""

from initlab.config.belonging import task_of_data
from initlab.config.comparing import compare_overrides
from initlab.config.compose import (
    arm_hash,
    compare_settings,
    compose,
    conf_dir,
    data_object,
    experiment,
    flatten,
    groups,
    quoted_formulas,
    replicas,
    resumed,
    study_settings,
    task_object,
    tracking_settings,
    typed_in,
)

__all__ = [
    "arm_hash",
    "compare_overrides",
    "compare_settings",
    "compose",
    "conf_dir",
    "data_object",
    "experiment",
    "flatten",
    "groups",
    "quoted_formulas",
    "replicas",
    "resumed",
    "study_settings",
    "task_object",
    "task_of_data",
    "tracking_settings",
    "typed_in",
]
