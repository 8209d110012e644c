"""Compares arms over seeds: means, intervals, tests, and the set of arms not distinguishable from the best."""
