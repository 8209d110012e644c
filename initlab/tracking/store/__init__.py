"""The MLflow store: its location, client, access, health, and the errors it raises."""
