"""What does a step cost by resolution and width, and do the estimates know it?

    python benchmarks/sizes.py     five minutes of a core

Each size in a process of its own, on one thread. The estimates are those of the product: time as
`check --timed` measures it, memory as a search is planned by it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import torch
from machine import provenance
from step import CPU, a_step, memory_gb

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.search.cost.estimate import gflop_per_image
from fastgan_ray.search.cost.memory import SCRATCH_GB, training_gb
from fastgan_ray.train.device import use_bf16
from fastgan_ray.train.state import new_state
from fastgan_ray.tune.trial.timing import time_class

SIDES, WIDTHS = (64, 128, 256, 512), (8, 16, 32, 64)
RESULTS = Path(__file__).parent / "results" / "sizes.md"
PLOT = Path(__file__).parents[1] / "docs" / "images" / "cost-by-size.png"
TURNS = 2
HEAD = """# What a step costs by size

`python benchmarks/sizes.py`; one thread; {provenance}.

Published settings but for the side in px, ngf = ndf, and L1 in place of LPIPS; batch 8;
color,translation. CPU seconds of a step: the fastest of {turns} (slowest). Estimated: by `check
--timed`. GB: the most that the process held, less what it held before its first step, with the
networks; estimated: by the planner of memory, which allots GPUs and says what does not fit.

| {columns} |
| {rule} |"""
COLUMNS = (
    *("px", "ngf", "format", "s a step", "estimated", "ratio"),
    *("GFLOP an image", "GFLOP/s", "GB", "estimated", "ratio"),
)


def configuration(side: int, width: int) -> RunConfig:
    """Published settings but for the size."""
    given = {"model.resolution": side, "model.ngf": width, "model.ndf": width}
    more = {"augment.policy": "color,translation", "train.reconstruction": "l1"}
    return RunConfig.model_validate({**given, **more})


def measure(side: int, width: int) -> dict[str, Any]:
    """One size, in this process."""
    torch.set_num_threads(1)
    config = configuration(side, width)
    step, used = a_step("ours", config)
    bare, seconds = memory_gb(), []
    for turn in range(TURNS + 1):
        began = time.process_time()
        step()
        if turn:
            seconds.append(time.process_time() - began)
    held = memory_gb() - bare
    weights = sum(
        weight.numel() * weight.element_size()
        for network in networks(config)
        for weight in network.parameters()
    )
    del step
    embedded = config.eval.model_copy(update={"extractor": "efficientnet_lite0"})
    kimg, _ = time_class(config.model_copy(update={"eval": embedded}))
    return {
        "side": side,
        "width": width,
        "format": used,
        "seconds": seconds,
        "estimated": kimg * config.train.images_per_step / 1000,
        "gflop": gflop_per_image(config),
        "gb": held + weights / 1e9,
        "estimated_gb": SCRATCH_GB + training_gb(config, use_bf16(config, CPU)),
        "batch": config.train.batch_size,
    }


def networks(config: RunConfig) -> list[torch.nn.Module]:
    """What a state has the weights of."""
    state = new_state(config, 4, CPU)
    return [state.generator, state.ema, state.discriminator]


def line(row: dict[str, Any]) -> str:
    """A row of the table."""
    fastest, slowest = min(row["seconds"]), max(row["seconds"])
    cells = [
        row["side"],
        row["width"],
        row["format"],
        f"{fastest:.3g} ({slowest:.3g})",
        f"{row['estimated']:.3g}",
        f"{row['estimated'] / fastest:.2f}",
        f"{row['gflop']:.3g}",
        f"{row['batch'] * row['gflop'] / fastest:.0f}",
        f"{row['gb']:.2f}",
        f"{row['estimated_gb']:.2f}",
        f"{row['estimated_gb'] / row['gb']:.2f}",
    ]
    return f"| {' | '.join(map(str, cells))} |"


def plot(rows: list[dict[str, Any]]) -> None:
    """Time and memory over the side, a line for each width, the estimates dashed."""
    mpl.use("Agg")
    figure, panels = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for width in WIDTHS:
        own = [row for row in rows if row["width"] == width]
        sides = [row["side"] for row in own]
        pairs = (
            ([min(row["seconds"]) for row in own], [row["estimated"] for row in own]),
            ([row["gb"] for row in own], [row["estimated_gb"] for row in own]),
        )
        for panel, (found, estimated) in zip(panels, pairs, strict=True):
            (drawn,) = panel.plot(sides, found, marker="o", label=f"ngf {width}")
            panel.plot(sides, estimated, linestyle="--", color=drawn.get_color(), linewidth=1)
    for panel, label in zip(panels, ("CPU seconds a step", "GB"), strict=True):
        panel.set_xscale("log", base=2)
        panel.set_yscale("log")
        panel.set_xticks(SIDES, [str(side) for side in SIDES])
        panel.set_xlabel("resolution, px")
        panel.set_ylabel(label)
        panel.grid(alpha=0.3)
    panels[0].legend(fontsize=8)
    figure.savefig(PLOT, dpi=110)


def main() -> None:
    if len(sys.argv) == 3:
        print(json.dumps(measure(int(sys.argv[1]), int(sys.argv[2]))))
        return
    rows = []
    for side in SIDES:
        for width in WIDTHS:
            command = [sys.executable, __file__, str(side), str(width)]
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            answer = subprocess.run(
                command, env=environment, check=True, capture_output=True, text=True
            )
            rows.append(json.loads(answer.stdout.splitlines()[-1]))
            print(line(rows[-1]), flush=True)
    head = HEAD.format(
        provenance=provenance(("torch",)),
        turns=TURNS,
        columns=" | ".join(COLUMNS),
        rule=" | ".join("---:" for _ in COLUMNS),
    )
    RESULTS.write_text("\n".join([head, *map(line, rows)]) + "\n")
    plot(rows)


if __name__ == "__main__":
    main()
