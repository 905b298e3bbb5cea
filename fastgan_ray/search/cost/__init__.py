"""The cost of a search, estimated before it runs: operations, memory and time."""
