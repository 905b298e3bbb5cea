"""Measure a generator: metrics, their standard errors, and protocols of how they were measured."""
