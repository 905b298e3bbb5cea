"""Charts of results as plain data with coordinates, and image files of an ablation's curves."""
