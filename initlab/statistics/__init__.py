"""Statistics on plain arrays: intervals and significance tests. Knows no MLflow, no pandas and no study."""
