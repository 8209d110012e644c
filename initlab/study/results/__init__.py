"""Results of a study: leaderboard, live table, MLflow parent run, HTML page, figures."""
