"""What came out, for a person: tables and pictures of numbers. Knows nothing of Ray."""
