"""What a study reports: leaderboard, live table, the MLflow parent run, page, figures."""
