"""A search on Ray: trials, what is tried next, what is stopped early, and what came out."""
