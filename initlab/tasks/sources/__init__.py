"""Sources of images, one file a source; each holds a factory that the configuration names."""
