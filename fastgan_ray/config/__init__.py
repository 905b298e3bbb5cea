"""The configuration of a training run: its schema, and how it is read from strict YAML."""
