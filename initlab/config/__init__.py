"""From YAML and overrides to a frozen, typed `Experiment`. The only room, with `__main__`, that imports Hydra."""

from initlab.config.compare_arguments import compare_overrides
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
from initlab.config.explain_arguments import Asked, asked_for
from initlab.config.follow_up import followed, typed_before
from initlab.config.task_of_data import task_of_data
from initlab.config.untrusted import check_folders

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
