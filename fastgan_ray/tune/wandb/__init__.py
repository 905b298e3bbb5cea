"""Log trials and outcomes to Weights & Biases (W&B), and make reports there."""
