"""Which forms of the networks' operations make a step fastest? Prints a device's row of KERNELS.

    python benchmarks/kernels.py [--device cuda] [--sizes 64-8,256-16] [--turns 15]

Field by field of `Kernels`, beginning with the device's row: whole training steps (L1 in place of
LPIPS) with each value of the field in turn, then the value with the smallest product of times over
the sizes. On a CPU times are of one thread, in CPU time; elsewhere by the clock, once the device
has finished. Five minutes on a core.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from step import SIZES, configuration

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.models.kernels import KERNELS, NO_LIMIT, REFERENCE, Kernels, use_kernels
from fastgan_ray.train.device import choose_device, keep_freed_memory, use_bf16
from fastgan_ray.train.draws import draw_step, to_device
from fastgan_ray.train.perceptual import DISTANCES
from fastgan_ray.train.state import new_state
from fastgan_ray.train.step import train_step

VALUES: dict[str, tuple[Any, ...]] = {
    "transposed_from": (None, 8, 16, 32, 64),
    "fused_glu": (False, True),
    "joint_up_to": (0, 2**14, 2**16, 2**18, NO_LIMIT),
    "gather_up_to": (0, 2**12, 2**15, 2**18),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--sizes", default="64-8,64-16,128-16", help=f"of {', '.join(SIZES)}")
    parser.add_argument("--turns", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    device = choose_device(arguments.device)
    row = KERNELS.get(device.type, KERNELS[REFERENCE])
    for field, values in VALUES.items():
        rows = {value: row._replace(**{field: value}) for value in values}
        scores = dict.fromkeys(values, 0.0)
        for size in arguments.sizes.split(","):
            seconds = compare(rows, l1_settings(size), device, arguments.turns)
            for value in values:
                scores[value] += math.log(seconds[value])
            shown = ", ".join(f"{value}: {1000 * seconds[value]:.1f} ms" for value in values)
            print(f"{field}, {size}: {shown}", flush=True)
        row = rows[min(values, key=lambda value: scores[value])]
    print(f'"{device.type}": {row},')


def l1_settings(size: str) -> RunConfig:
    """A size's settings without LPIPS, which no form is part of."""
    config = configuration(size, "auto")
    train = config.train.model_copy(update={"reconstruction": "l1"})
    return config.model_copy(update={"train": train})


def compare(
    rows: dict[Any, Kernels], config: RunConfig, device: torch.device, turns: int
) -> dict[Any, float]:
    """Seconds of a step with each of the rows, the median of the turns."""
    steps = {value: a_step(row, config, device) for value, row in rows.items()}
    seconds: dict[Any, list[float]] = {value: [] for value in rows}
    for turn in range(turns + 3):  # the first find no memory ready, nor cuDNN's choice made
        for value, step in steps.items():
            start = clock(device)
            step()
            if turn >= 3:
                seconds[value].append(clock(device) - start)
    return {value: median(times) for value, times in seconds.items()}


def a_step(row: Kernels, config: RunConfig, device: torch.device) -> Callable[[], None]:
    """One training's next step, with its forms from `row`."""
    state = new_state(config, config.train.batch_size, device)
    side, bf16 = config.model.resolution, use_bf16(config, device)
    pictures = torch.zeros(config.train.batch_size, 3, side, side, device=device)
    distance = DISTANCES["l1"](device)

    def step() -> None:
        KERNELS["measured"] = row
        with use_kernels("measured"):
            draws = to_device(draw_step(state, config), device)
            train_step(state, draws, [pictures] * config.train.d_steps, config, distance, bf16)

    return step


def clock(device: torch.device) -> float:
    """The time in seconds; of this process on a CPU, else when the device has finished."""
    if device.type == "cpu":
        return time.process_time()
    getattr(torch, device.type).synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    main()
