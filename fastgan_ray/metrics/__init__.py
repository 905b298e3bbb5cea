"""Measure a generator: metrics, their errors, and the protocol that makes them comparable."""
