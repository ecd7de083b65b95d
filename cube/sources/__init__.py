"""Sources of inputs: one module a kind of source, each giving whole units of stored values by the `Reader` of `reader`."""
