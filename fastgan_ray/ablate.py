"""`python -m fastgan_ray.ablate` is the command `fastgan-ray ablate`."""

import sys

from fastgan_ray.cli.main import main

if __name__ == "__main__":
    main(["ablate", *sys.argv[1:]])
