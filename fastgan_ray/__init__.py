"""Hyperparameter search and ablation for few-shot GANs: FastGAN on Ray."""
