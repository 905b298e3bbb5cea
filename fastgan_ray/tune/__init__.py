"""Searches and ablations on Ray: suggest configurations, run trials, stop early, keep results."""
