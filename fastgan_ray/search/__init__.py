"""What to search: the grammar of a search space, and the configurations that it holds."""
