"""`python -m fastgan_ray` is the command `fastgan-ray`."""

from fastgan_ray.cli.main import main

main()
