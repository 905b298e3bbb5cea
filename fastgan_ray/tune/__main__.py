"""`python -m fastgan_ray.tune`: the same command as `fastgan-ray tune`."""

import sys

from fastgan_ray.cli.main import main

main(["tune", *sys.argv[1:]])
