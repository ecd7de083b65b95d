"""Running it: settings, limits, keys, figures and logs, workers."""
