"""Differentiable augmentation of real and generated pictures."""
