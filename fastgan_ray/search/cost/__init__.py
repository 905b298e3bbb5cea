"""What a search will cost: operations, memory, time."""
