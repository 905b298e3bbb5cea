"""Let `python -m fastgan_ray.train` run the command `fastgan-ray train`."""

import sys

from fastgan_ray.cli.main import main

main(["train", *sys.argv[1:]])
