"""Charts of results: coordinates as plain data, and picture files of an ablation's curves."""
