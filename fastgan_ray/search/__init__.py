"""Searches and ablations: their files, search spaces, costs, early stopping and statistics."""
