"""A training step: the published code's against ours, in turn; writes results/step.md.

`python benchmarks/step.py [--sizes 64-8,256-64] [--turns 5]`. Each side runs in a process of its
own on one thread, so that its peak of memory is its own, and waits while the other is at work.
Seconds are of CPU time; the share of the peak is of what this thread multiplies matrices at,
measured between the turns.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import provenance
from published import PublishedStep
from torch.utils.flop_counter import FlopCounterMode
from turns import spread

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.train.device import keep_freed_memory, use_bf16
from fastgan_ray.train.draws import draw_step, to_device
from fastgan_ray.train.perceptual import DISTANCES, lpips_distance, lpips_network
from fastgan_ray.train.state import new_state
from fastgan_ray.train.step import train_step

CPU = torch.device("cpu")
SIDES = ("published", "ours")
RESULTS = Path(__file__).parent / "results"
DEMO = {"model.nz": 128, "train.reconstruction": "l1"}
# Name: settings, and turns as a share of those asked for.
SIZES: dict[str, tuple[dict[str, Any], float]] = {
    "64-8": ({"model.ngf": 8, "model.ndf": 8, "model.decoder_width": 4, **DEMO}, 3),
    "64-16": ({"model.ngf": 16, "model.ndf": 16, "model.decoder_width": 8, **DEMO}, 3),
    "64-16-lpips": ({"model.ngf": 16, "model.ndf": 16}, 1),
    "128-16": ({"model.ngf": 16, "model.ndf": 16}, 1),
    "128-64": ({"model.ngf": 64, "model.ndf": 64}, 0.4),
    "256-16": ({"model.ngf": 16, "model.ndf": 16}, 0.4),
    "256-64": ({"model.ngf": 64, "model.ndf": 64}, 0.4),
    "512-8": ({"model.ngf": 8, "model.ndf": 8}, 0.4),
}


def main() -> None:
    """Measure, or be one side of the measurement."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", default=",".join(SIZES))
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--side", choices=SIDES)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    sizes = arguments.sizes.split(",")
    if arguments.side:
        serve(arguments.side, configuration(sizes[0], arguments.precision))
        return
    rows = []
    for size in sizes:
        rows.append(compare(size, arguments.turns, arguments.precision))
        print(table_row(rows[-1]), flush=True)
        write(rows, RESULTS / "step.json")


def configuration(size: str, precision: str) -> RunConfig:
    """The published settings but for a size's."""
    side = int(size.split("-")[0])
    common = {"model.resolution": side, "augment.policy": "color,translation"}
    return RunConfig.model_validate({**common, "train.precision": precision, **SIZES[size][0]})


def compare(size: str, turns: int, precision: str) -> dict[str, Any]:
    """Both sides' seconds turn by turn, operations and memory; the peak measured between them."""
    workers = {side: start(side, size, precision) for side in SIDES}
    first = {side: ask(worker) for side, worker in workers.items()}
    row: dict[str, Any] = {"size": size, "format": first["ours"]["format"]}
    row |= {"gflop": {side: answer["gflop"] for side, answer in first.items()}}
    row |= {"losses": {side: answer["losses"] for side, answer in first.items()}}
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    clock: dict[str, list[float]] = {side: [] for side in SIDES}
    memory: dict[str, list[float]] = {}
    peaks: dict[str, list[float]] = {"float32": [], "bfloat16": []}
    for _ in range(max(2, round(turns * SIZES[size][1]))):
        for dtype, found in peaks.items():
            found.append(multiplication_gflops(getattr(torch, dtype)))
        for side, worker in workers.items():
            answer = ask(worker)
            seconds[side].append(answer["cpu"])
            clock[side].append(answer["clock"])
            memory[side] = [first[side]["bare_gb"], answer["memory_gb"]]
    shares = ask(workers["ours"], "profile")
    for worker in workers.values():
        assert worker.stdin is not None
        worker.stdin.close()
        worker.wait()
    return row | {
        "profile": shares,
        "cpu": seconds,
        "clock": clock,
        "peaks": peaks,
        "memory_gb": memory,
    }


def start(side: str, size: str, precision: str) -> subprocess.Popen[str]:
    """One side, waiting to be asked for a step."""
    arguments = ["--side", side, "--sizes", size, "--precision", precision]
    return subprocess.Popen(
        [sys.executable, __file__, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def ask(worker: subprocess.Popen[str], what: str = "step") -> dict[str, Any]:
    """What a side says of its next step."""
    assert worker.stdin is not None and worker.stdout is not None
    worker.stdin.write(f"{what}\n")
    worker.stdin.flush()
    answer: dict[str, Any] = json.loads(worker.stdout.readline())
    return answer


def serve(side: str, config: RunConfig) -> None:
    """A step for each line read; the first, in which operations are counted, warms up."""
    step, used = a_step(side, config)
    for index, line in enumerate(sys.stdin):
        if line == "profile\n":
            answer: dict[str, Any] = shares_of_time(step)
        elif index == 0:
            bare = memory_gb()
            with FlopCounterMode(display=False) as counter:
                losses = step()
            answer = {
                "gflop": counter.get_total_flops() / 1e9,
                "losses": {name: float(loss) for name, loss in losses.items()},
                "bare_gb": bare,
                "format": used,
            }
        else:
            clock, cpu = time.perf_counter(), time.process_time()
            step()
            answer = {"cpu": time.process_time() - cpu, "clock": time.perf_counter() - clock}
            # The first step's peak is lower: it has no moments of Adam yet.
            answer["memory_gb"] = memory_gb()
        print(json.dumps(answer), flush=True)


def shares_of_time(step: Callable[[], object]) -> dict[str, float]:
    """Of one step's time, by operation, the twelve that take most."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        step()
    times = {event.key: event.self_cpu_time_total for event in profiler.key_averages()}
    most = sorted(times, key=lambda name: -times[name])[:12]
    return {name: times[name] / sum(times.values()) for name in most}


def a_step(side: str, config: RunConfig) -> tuple[Callable[[], dict[str, Any]], str]:
    """One side's step, and the number format that it uses."""
    torch.manual_seed(0)  # of LPIPS' drawn network
    lpips, count = config.train.reconstruction == "lpips_vgg", config.train.batch_size
    size = (count, 3, config.model.resolution, config.model.resolution)
    pictures = torch.rand(size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    if side == "ours":
        keep_freed_memory()
    state = new_state(config, count, CPU)
    if side == "published":
        plain = lpips_network().requires_grad_(False) if lpips else None
        distance = DISTANCES["l1"](CPU) if plain is None else lambda a, b: plain(a, b).mean()
        published = PublishedStep(state, config, distance)
        del state
        return lambda: published(pictures), "float32"
    name = config.train.reconstruction
    distance = lpips_distance(lpips_network(), CPU) if lpips else DISTANCES[name](CPU)
    bf16 = use_bf16(config, CPU)
    shown = ("loss/d", "loss/reconstruction", "loss/g")

    def ours() -> dict[str, Any]:
        draws = to_device(draw_step(state, config), CPU)
        scalars = train_step(state, draws, [pictures], config, distance, bf16)
        return {name: scalars[name] for name in shown}

    return ours, "bfloat16" if bf16 else "float32"


def multiplication_gflops(dtype: torch.dtype, side: int = 2048) -> float:
    """What this thread multiplies square matrices at, the better of two."""
    a, b = torch.ones(side, side, dtype=dtype), torch.ones(side, side, dtype=dtype)
    best = 0.0
    for _ in range(2):
        start = time.process_time()
        torch.mm(a, b)
        best = max(best, 2 * side**3 / (time.process_time() - start) / 1e9)
    return best


def memory_gb() -> float:
    """The most that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def table_row(row: dict[str, Any]) -> str:
    """A line of the table."""
    theirs, ours = (np.array(row["cpu"][side]) for side in SIDES)
    peak = np.array(row["peaks"][row["format"]])
    share = row["gflop"]["ours"] / ours / peak
    memory = [row["memory_gb"][side] for side in SIDES]
    cells = [
        row["size"],
        row["format"],
        spread(list(theirs)),
        spread(list(ours)),
        spread(list(theirs / ours)),
        f"{row['gflop']['published']:.4g}, {row['gflop']['ours']:.4g}",
        spread(list(share)),
        ", ".join(f"{after:.2f} ({before:.2f})" for before, after in memory),
        f"{memory[1][1] / memory[0][1]:.2f}",
    ]
    return f"| {' | '.join(cells)} |"


def write(rows: list[dict[str, Any]], path: Path) -> None:
    """Keep what was measured, and a table of it beside."""
    path.write_text(json.dumps(rows, indent=1))
    peaks = {
        dtype: spread([value for row in rows for value in row["peaks"][dtype]])
        for dtype in ("float32", "bfloat16")
    }
    lines = [
        "# A training step against the published code's",
        "",
        f"`python benchmarks/step.py`; one thread, CPU time; {provenance(('torch', 'lpips'))}.",
        "",
        "Median (smallest to largest) of the turns, the two sides alternating, each in a process",
        "of its own. Batch 8, color,translation. Size: side in px and ngf = ndf. The 64 px rows",
        "without `-lpips` are the demonstration's (L1, decoder_width ngf / 2, nz 128), the others",
        "have the published settings; LPIPS' VGG has drawn weights, which take the same time.",
        "GFLOP: as counted in the step, published and ours. Peak: of multiplying 2048 x 2048",
        f"matrices, {peaks['float32']} GFLOP/s in float32, {peaks['bfloat16']} in bfloat16.",
        "Share: of the peak in our format, of the operations that ours does. GB: the most that a",
        "process held, and in brackets before its first step (PyTorch, the networks, LPIPS).",
        "",
        "| size | our format | published, s | ours, s | times as fast | GFLOP | share of the peak "
        "| GB: published, ours | ratio |",
        "|---|---|---|---|---|---|---|---|---|",
        *map(table_row, rows),
        "",
        "What our step's time goes to, in per cent of one step by the clock:",
        "",
    ]
    for row in rows:
        shares = ", ".join(f"{name} {100 * part:.1f}" for name, part in row["profile"].items())
        lines.append(f"- {row['size']}: {shares}")
    path.with_suffix(".md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
