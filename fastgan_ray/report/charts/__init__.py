"""Compute charts of results as plain data, and draw figures of an ablation's learning curves."""
