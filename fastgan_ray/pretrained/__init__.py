"""Pretrained networks whose weights are inside Python packages, for metrics, losses and D."""
