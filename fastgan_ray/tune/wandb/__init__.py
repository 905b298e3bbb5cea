"""Weights & Biases: runs, summaries, reports."""
