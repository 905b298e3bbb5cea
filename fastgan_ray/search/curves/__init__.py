"""A Gaussian process of learning curves: what all evaluations of a search say about its points."""
