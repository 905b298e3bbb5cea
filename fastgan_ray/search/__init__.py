"""Describe searches and ablations: files, search spaces, costs, early stopping and statistics."""
