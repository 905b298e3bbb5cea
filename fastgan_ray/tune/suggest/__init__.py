"""Choose the next configuration that a search tries."""
