"""Augment real and generated pictures with differentiable operations."""
