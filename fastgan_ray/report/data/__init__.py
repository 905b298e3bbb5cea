"""A run's folder as plain data."""
