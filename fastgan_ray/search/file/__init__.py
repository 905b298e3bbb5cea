"""The search file and the ablation file: read, checked and explained."""
