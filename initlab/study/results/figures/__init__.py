"""Figures of a study. Palettes that any eye can read; every axis says what it is."""

from initlab.study.results.figures.all import pictures
from initlab.study.results.figures.course import history
from initlab.study.results.figures.front import pareto
from initlab.study.results.figures.heat import heat_map, heat_map_keys
from initlab.study.results.figures.labels import metric_label
from initlab.study.results.figures.parallels import parallel
from initlab.study.results.figures.shares import importance

__all__ = ["heat_map", "heat_map_keys", "history", "importance", "metric_label", "parallel", "pareto", "pictures"]
