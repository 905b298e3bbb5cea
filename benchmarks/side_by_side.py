"""Do trials side by side on one machine stay out of each other's way?

    python benchmarks/side_by_side.py     ten minutes of two quiet cores

Real trainings of the demonstration's size through the product's search, so many at a time, with
as many cores each as the table says. Images a second are those of the training loop, evaluations
left out, added up over the trials that run together.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from machine import provenance

from fastgan_ray.search.file.read import spec_from_text
from fastgan_ray.tune.experiment import TuneOptions
from fastgan_ray.tune.ray.session import connected
from fastgan_ray.tune.search import run_search

RESULTS = Path(__file__).parent / "results" / "side_by_side.md"
TURNS = 3
# Trials at once, and cores each.
WAYS = ((1, 1.0), (1, 2.0), (2, 1.0), (4, 0.5))
TEXT = """
name: together
method: grid
metric: {{name: fd_efficientnet_lite0}}
confirm: false
base:
  data: {{path: fluent-heads}}
  model: {{resolution: 64, ngf: 8, ndf: 8, decoder_width: 4, nz: 128}}
  train: {{total_kimg: {kimg}, reconstruction: l1}}
  eval: {{extractor: efficientnet_lite0, num_fakes: 64, every_kimg: {kimg}}}
  resources: {{cpus: {cpus}}}
parameters:
  train.seed: {{values: {seeds}}}
"""
KIMG = 1.0


def rate(trials: int, cpus: float) -> float:
    """Images a second of so many trials together."""
    text = TEXT.format(kimg=KIMG, cpus=cpus, seeds=list(range(trials)))
    with tempfile.TemporaryDirectory() as runs:
        options = TuneOptions(Path(runs), max_concurrent=trials, wandb="off", quiet=True)
        folder = run_search(spec_from_text(text, "together.yaml"), options)
        rows = [json.loads(path.read_text()) for path in folder.glob("trials/*/metrics.jsonl")]
    assert len(rows) == trials
    return sum(row["images_per_second"] for row in rows)


def main() -> None:
    found: dict[tuple[int, float], list[float]] = {way: [] for way in WAYS}
    with connected(None):
        for _ in range(TURNS):
            for way, rates in found.items():
                rates.append(rate(*way))
                print(way, f"{rates[-1]:.1f}", flush=True)
    lines = [
        "# Trials side by side",
        "",
        f"`python benchmarks/side_by_side.py`; {provenance(('torch', 'ray'))}.",
        "",
        f"64 px, ngf = ndf = 8, batch 8, {KIMG:g} kimg each; median (smallest to largest) of "
        f"{TURNS} turns.",
        "",
        "| trials at once | cores each | images/s, all together | of one trial on one core |",
        "|---:|---:|---:|---:|",
    ]
    base = sorted(found[WAYS[0]])[TURNS // 2]
    for (trials, cpus), rates in found.items():
        low, *_, high = ordered = sorted(rates)
        middle = ordered[TURNS // 2]
        cells = (trials, f"{cpus:g}", f"{middle:.1f} ({low:.1f} to {high:.1f})")
        lines.append(f"| {' | '.join(map(str, cells))} | {middle / base:.2f} |")
    RESULTS.write_text("\n".join(lines) + "\n")
    print(RESULTS.read_text())


if __name__ == "__main__":
    main()
