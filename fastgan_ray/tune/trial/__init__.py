"""A trial: one training in a Ray process, with its folder and its workers."""
