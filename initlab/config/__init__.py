"""Configuration: YAML files and overrides become a frozen, typed `Experiment`. Hydra and OmegaConf stop here."""

from initlab.config.arm import arm_hash, flatten
from initlab.config.build import experiment
from initlab.config.compare_arguments import compare_overrides
from initlab.config.compose import compose, conf_dir, groups
from initlab.config.explain_arguments import Asked, asked_for
from initlab.config.follow_up import followed, typed_before
from initlab.config.overrides import quote_formulas
from initlab.config.resume import resume_config, saved_overrides
from initlab.config.sections import (
    compare_settings,
    data_object,
    replicas,
    study_settings,
    task_object,
    tracking_settings,
)
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
    "quote_formulas",
    "replicas",
    "resume_config",
    "saved_overrides",
    "study_settings",
    "task_object",
    "task_of_data",
    "tracking_settings",
    "typed_before",
]
