"""Writing a run's records: the sink that a run writes to, artifacts, and the helper process behind it."""
