"""One run, from a typed `Experiment` to its recorded result: prepare, train, judge, record."""
