"""Delivering spooled records to MLflow, in batches, once each, from a helper process."""
