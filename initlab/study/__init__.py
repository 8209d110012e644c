"""Studies: a search space, replicated over seeds, run by workers, compared. The only room that imports optuna and ray."""
