"""Measure the plain share of each data set of the library (see `fastgan_ray.data.plain`).

    python benchmarks/library/measure_plain.py

Writes plain.json. `build_sets.py` comes first.
"""

from __future__ import annotations

import json
from pathlib import Path

from build_sets import data_path
from design import SETS

from fastgan_ray.config.data import DataConfig
from fastgan_ray.data.plain import plain_share_of


def main() -> None:
    """Write the file."""
    shares = {}
    for name in SETS:
        share = plain_share_of(DataConfig(path=data_path(name)))
        if share is None:
            raise SystemExit(f"{name}: its pictures cannot be read; run build_sets.py first")
        shares[name] = round(share, 3)
    Path(__file__).with_name("plain.json").write_text(json.dumps(shares, indent=1) + "\n")


if __name__ == "__main__":
    main()
