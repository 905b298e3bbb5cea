"""From a configuration and a folder of pictures to a generator."""
