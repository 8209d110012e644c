"""The search space: Hydra's sweep grammar, the arms it spans, the frozen plan, objectives."""
