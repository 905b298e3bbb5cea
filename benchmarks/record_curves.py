"""Record real learning curves for `search.py` to replay: every point of a small grid, twice.

    python benchmarks/record_curves.py [SHARE OF]     e.g. 0 2 and 1 2 side by side

Appends a line for each training to data/curves.jsonl and goes on where it was. The grid has every
combination, so that between learning rates a replay can interpolate; each point is trained with
two seeds, which tells what is noise.
"""

from __future__ import annotations

import itertools
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.errors import DivergedError
from fastgan_ray.train.loop import train

FILE = Path(__file__).parent / "data" / "curves.jsonl"
METRIC = "fd_efficientnet_lite0"
KEPT = (METRIC, f"{METRIC}_se_fakes", "kd_efficientnet_lite0", "seconds", "params_g", "gflop_g")
BASE = {
    "data.path": "matcaps",
    "model.resolution": 32,
    "model.nz": 64,
    "model.ndf": 4,
    "model.decoder_width": 2,
    "train.reconstruction": "l1",
    "train.total_kimg": 1.0,
    "train.ema_halflife_kimg": 0.25,
    "eval.extractor": "efficientnet_lite0",
    "eval.num_fakes": 64,
    "eval.every_kimg": 0.2,
}
RATES = (1e-4, 2.5e-4, 6.3e-4, 1.6e-3, 4e-3)
GRID: dict[str, tuple[Any, ...]] = {
    "model.ngf": (4, 8),
    "train.batch_size": (4, 8),
    "augment.policy": ("", "color,translation"),
    "train.lr_g": RATES,
    "train.lr_d": RATES,
}
SEEDS = (0, 1)


class Curve:
    """A reporter that keeps what a replay needs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: list[dict[str, Any]] = []

    def report(self, metrics: Mapping[str, Any], checkpoint: Path) -> None:
        """Keep an evaluation."""
        kept = {name: metrics[name] for name in KEPT if name in metrics}
        self.rows.append({"kimg": round(metrics["kimg"], 3), **kept})

    def progress(self, kimg: float, seconds: float) -> None:
        """Nothing."""

    def stopping(self) -> bool:
        """Never."""
        return False


def points() -> list[dict[str, Any]]:
    """All trainings: the grid in a drawn order with the first seed, then with the next."""
    grid = [dict(zip(GRID, values, strict=True)) for values in itertools.product(*GRID.values())]
    random.Random(0).shuffle(grid)
    return [{**point, "train.seed": seed} for seed in SEEDS for point in grid]


def record(point: dict[str, Any]) -> dict[str, Any]:
    """One training: its point, outcome, rows, and CPU seconds with everything."""
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        curve = Curve(Path(folder))
        try:
            train(RunConfig.model_validate({**BASE, **point}), curve)
            outcome = "finished"
        except DivergedError:
            outcome = "diverged"
    seconds = round(time.process_time() - began, 2)
    return {"point": point, "outcome": outcome, "cpu_seconds": seconds, "rows": curve.rows}


def recorded() -> list[dict[str, Any]]:
    """What the file holds."""
    return [json.loads(line) for line in FILE.read_text().splitlines()] if FILE.exists() else []


def missing(share: int, of: int) -> Iterator[dict[str, Any]]:
    """The points of this process' share that the file lacks."""
    known = [one["point"] for one in recorded()]
    yield from (point for point in points()[share::of] if point not in known)


def main() -> None:
    """Record what is missing."""
    torch.set_num_threads(1)
    FILE.parent.mkdir(exist_ok=True)
    share, of = map(int, sys.argv[1:3] or (0, 1))
    for point in missing(share, of):
        line = json.dumps(record(point))
        with FILE.open("a") as file:
            file.write(line + "\n")
        print(line[:150], flush=True)


if __name__ == "__main__":
    main()
