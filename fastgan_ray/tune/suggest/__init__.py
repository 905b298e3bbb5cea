"""The choice of the next configuration that a search tries."""
