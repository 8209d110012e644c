"""`initlab server`: an MLflow server with accounts for a team, as processes of this machine, without containers."""
