"""Estimate the cost of a search before it runs: operations, memory and time."""
