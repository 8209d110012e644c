"""Figures of a study: history, heat map, Pareto front, parallel coordinates, importance."""

from initlab.study.results.figures.all import make_figures
from initlab.study.results.figures.heat_map_plot import heat_map, heat_map_keys
from initlab.study.results.figures.history_plot import history
from initlab.study.results.figures.importance_plot import importance
from initlab.study.results.figures.labels import metric_label
from initlab.study.results.figures.parallel_plot import parallel
from initlab.study.results.figures.pareto_plot import pareto

__all__ = ["heat_map", "heat_map_keys", "history", "importance", "make_figures", "metric_label", "parallel", "pareto"]
