"""The commands `tune`, `ablate` and `train` as Python functions; they return `Results`.

The command line calls the same functions. They raise the exceptions of `fastgan_ray.errors`.
"""
