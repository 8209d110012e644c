"""Optuna's side of a study: storage, samplers, pruners, the ledger of trials, importance, learning-rate sweeps."""
