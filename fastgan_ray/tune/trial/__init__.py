"""A trial: one training in a process of Ray's, its folder and its workers."""
