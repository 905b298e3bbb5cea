"""Results of searches and ablations as plain data, read from their folders."""
