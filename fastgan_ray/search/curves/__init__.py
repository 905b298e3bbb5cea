"""A Gaussian process that predicts how trainings end, from the evaluations of a search."""
