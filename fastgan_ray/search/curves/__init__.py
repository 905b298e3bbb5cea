"""A Gaussian process that predicts values at the end of trainings from a search's evaluations."""
