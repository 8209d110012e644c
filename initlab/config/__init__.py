"""Configuration: YAML files and overrides become a frozen, typed `Experiment`. Hydra and OmegaConf stop here."""

from initlab.config.arm import arm_hash, flatten
from initlab.config.build import experiment
from initlab.config.compose import compose, groups
from initlab.config.follow_up import compose_follow_up, original_overrides
from initlab.config.overrides import quote_formulas
from initlab.config.resume import resume_config, saved_overrides
from initlab.config.sections import (
    compare_settings,
    data_object,
    plain_node,
    replicas,
    study_settings,
    task_object,
    tracking_settings,
)
from initlab.config.task_of_data import task_of_data
from initlab.config.untrusted import check_folders
from initlab.core.plugins import conf_dir

__all__ = [
    "arm_hash",
    "check_folders",
    "compare_settings",
    "compose",
    "compose_follow_up",
    "conf_dir",
    "data_object",
    "experiment",
    "flatten",
    "groups",
    "original_overrides",
    "plain_node",
    "quote_formulas",
    "replicas",
    "resume_config",
    "saved_overrides",
    "study_settings",
    "task_object",
    "task_of_data",
    "tracking_settings",
]
