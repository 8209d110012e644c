"""Studies: a search space, replicated over seeds, run by workers, compared. It alone imports optuna."""
