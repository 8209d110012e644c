"""Workers that train the arms of a study: local processes or Ray actors, started and watched by a leader."""
