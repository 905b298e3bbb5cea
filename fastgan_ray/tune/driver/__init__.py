"""The process that runs a search: records, budget, early stopping, retries, the live table."""
