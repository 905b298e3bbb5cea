"""Working with a trained generator."""
