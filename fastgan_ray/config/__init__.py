"""What a run is: the configuration schema and its strict YAML form."""
