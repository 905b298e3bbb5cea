"""Run searches and ablations on Ray: suggest configurations, run trials, keep results."""
