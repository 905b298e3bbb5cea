"""The search file and the ablation file: their keys, and how they are read and checked."""
