"""Diagnosis of a run: rules over its profile, remedies, and trainability before training."""
