"""From scores to statements: calibrated probabilities, sets of species, intervals."""
