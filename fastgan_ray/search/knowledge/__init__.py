"""Recorded trainings on other data sets, and what a new search learns from them."""
