"""Figures of a study. Palettes that any eye can read; every axis says what it is."""

from initlab.study.pictures.all import pictures
from initlab.study.pictures.course import history
from initlab.study.pictures.front import pareto
from initlab.study.pictures.heat import heat_map, heat_map_keys
from initlab.study.pictures.labels import metric_label
from initlab.study.pictures.parallels import parallel
from initlab.study.pictures.shares import importance

__all__ = ["heat_map", "heat_map_keys", "history", "importance", "metric_label", "parallel", "pareto", "pictures"]
