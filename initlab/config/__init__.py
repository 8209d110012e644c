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
from initlab.config.explaining import Asked, asked_for
from initlab.config.following import followed, typed_before
from initlab.config.strangers import check_folders

__all__ = [
    "Asked",
    "arm_hash",
    "asked_for",
    "check_folders",
    "compare_overrides",
    "compare_settings",
    "compose",
    "conf_dir",
    "data_object",
    "experiment",
    "flatten",
    "followed",
    "groups",
    "quoted_formulas",
    "replicas",
    "resumed",
    "study_settings",
    "task_object",
    "task_of_data",
    "tracking_settings",
    "typed_before",
    "typed_in",
]
