"""From data to weights: the likelihoods, the optimiser's loop, and what a training leaves behind."""
