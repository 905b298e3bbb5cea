"""Read the results of searches, ablations and trainings from their folders, as plain data."""
