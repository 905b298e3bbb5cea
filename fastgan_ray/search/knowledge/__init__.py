"""What trainings on other data sets say about a new search."""
