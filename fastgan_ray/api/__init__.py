"""Python functions for the commands `tune`, `ablate` and `train`; the functions return `Results`.

The commands use the same code. The functions raise the exceptions of `fastgan_ray.errors`.
"""
