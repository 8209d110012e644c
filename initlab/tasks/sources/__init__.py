"""Where images come from, one file a source; each holds a factory that the configuration names."""
