"""Run `fastgan-ray tune` as `python -m fastgan_ray.tune`."""

import sys

from fastgan_ray.cli.main import main

main(["tune", *sys.argv[1:]])
