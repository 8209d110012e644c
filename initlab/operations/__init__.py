"""Running initlab for a team: schedules, a tracking server, checks of the installation, garbage collection."""
