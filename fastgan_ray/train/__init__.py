"""Train a generator from a configuration and a folder of pictures."""
