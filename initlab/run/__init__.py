"""One run, from a decided `Experiment` to its recorded result: prepare, train, judge, record."""
