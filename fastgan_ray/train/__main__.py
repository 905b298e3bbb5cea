"""Run the command `fastgan-ray train` as `python -m fastgan_ray.train`."""

import sys

from fastgan_ray.cli.main import main

main(["train", *sys.argv[1:]])
