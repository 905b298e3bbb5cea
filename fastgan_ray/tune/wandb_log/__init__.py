"""Weights & Biases: a run a trial, a run for the outcome of all, and a report of them."""
