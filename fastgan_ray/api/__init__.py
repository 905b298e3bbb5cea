"""Python functions that do what `tune`, `ablate` and `train` do, and return `Results`.

The command line uses the same code. The functions raise the exceptions of `fastgan_ray.errors`.
"""
