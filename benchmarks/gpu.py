"""What a GPU does with a training: speed, launches, memory, trials side by side, evaluation.

    python benchmarks/gpu.py [--seconds 480] [--tiny]

Runs from a checkout with PyTorch 2.9 or newer, without Ray and without a network, and writes
results/gpu.md. The most important questions come first; what the time does not suffice for is
named. `--tiny` takes networks of a few channels, on whatever device there is, to see that all runs.
Times are of the clock once the device has finished, the kinds of step in turns.
"""

from __future__ import annotations

import argparse
import datetime
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from statistics import median
from typing import Any

import torch
from published import PublishedStep
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from fastgan_ray.config.run_config import RunConfig, nest
from fastgan_ray.metrics.extractors import load_extractor
from fastgan_ray.metrics.frechet import frechet_distance
from fastgan_ray.search.cost.memory import CUDA_GB, gpu_gb_of
from fastgan_ray.train.captured import StepRunner, can_capture, capture_on_cuda
from fastgan_ray.train.device import (
    choose_device,
    keep_freed_memory,
    training_arithmetic,
    use_bf16,
)
from fastgan_ray.train.draws import draw_step, to_device
from fastgan_ray.train.perceptual import DISTANCES, Distance, lpips_distance, lpips_network
from fastgan_ray.train.state import new_state

RESULTS = Path(__file__).parent / "results" / "gpu.md"
KINDS = ("published fp32", "published bf16", "ours eager", "ours captured")
# Side in px and batch, the most wanted first.
SIZES = [(256, 8), (64, 8), (512, 8), (256, 32), (1024, 8), (64, 32), (256, 16), (64, 16)]
SIDE_BY_SIDE = (1, 2, 3, 4)
TURNS, STEPS = 3, 10


class Deadline:
    """The time that is left."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        return self._end - time.monotonic()


def configuration(side: int, batch: int, tiny: bool, **changes: str) -> RunConfig:
    """The published settings at a size, or a few channels of them."""
    flat: dict[str, Any] = {"model.resolution": side, "train.batch_size": batch}
    if tiny:
        flat |= {"model.ngf": 2, "model.ndf": 2, "model.decoder_width": 2, "model.nz": 4}
        flat |= {"train.reconstruction": "l1"}
    return RunConfig.model_validate(nest(flat | changes))


def distance_of(config: RunConfig, device: torch.device) -> Distance:
    """The reconstruction's distance; LPIPS with drawn weights, which take the same time."""
    if config.train.reconstruction == "lpips_vgg":
        return lpips_distance(lpips_network(), device)
    return DISTANCES[config.train.reconstruction](device)


def a_step(kind: str, config: RunConfig, device: torch.device) -> Callable[[], object]:
    """A step of one kind, on pictures that are already on the device."""
    torch.manual_seed(0)
    state, distance = new_state(config, 64, device), distance_of(config, device)
    side, batch = config.model.resolution, config.train.batch_size
    pictures = torch.rand(batch, 3, side, side, device=device) * 2 - 1
    if kind.startswith("published"):
        step = PublishedStep(state, config, distance)
        casting = kind.endswith("bf16")

        def published() -> object:
            with torch.autocast(device.type, torch.bfloat16) if casting else nullcontext():
                return step(pictures)

        return published
    captured = kind.endswith("captured") and can_capture(state, config, device)
    bf16 = use_bf16(config, device)
    run = StepRunner(state, config, distance, bf16, capture_on_cuda if captured else None)

    def ours() -> object:
        with training_arithmetic(config):
            return run(to_device(draw_step(state, config), device), [pictures])

    return ours


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(step: Callable[[], object], count: int, device: torch.device) -> float:
    """Seconds a step, over some."""
    synchronize(device)
    start = time.perf_counter()
    for _ in range(count):
        step()
    synchronize(device)
    return (time.perf_counter() - start) / count


def measure_steps(
    side: int, batch: int, device: torch.device, tiny: bool
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Images a second of each kind turn by turn, and the memory in GB that ours takes at most."""
    config = configuration(side, batch, tiny)
    memory = {}
    steps = {}
    for kind in KINDS:
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            before = torch.cuda.memory_allocated(device)
        steps[kind] = a_step(kind, config, device)
        seconds_of(steps[kind], 1 if tiny else 6, device)  # warms up, and captures
        if device.type == "cuda":
            memory[kind] = (torch.cuda.max_memory_allocated(device) - before) / 1e9
    rates: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in range(TURNS):
        for kind, step in steps.items():
            rates[kind].append(batch / seconds_of(step, 1 if tiny else STEPS, device))
    memory["estimated"] = gpu_gb_of(config) - CUDA_GB
    return rates, memory


def step_rows(device: torch.device, tiny: bool, deadline: Deadline) -> list[str]:
    """The table of images a second, memory and arithmetic."""
    peak = multiplication_tflops(device, 256 if tiny else 8192)
    lines = [
        f"Multiplying bfloat16 matrices: {peak:.3g} TFLOP/s.",
        "",
        f"| px, batch | {' | '.join(f'{kind}, img/s' for kind in KINDS)} "
        "| captured / published fp32 | share of the bf16 peak | GB captured (estimated) |",
        "|---|" + "---:|" * (len(KINDS) + 3),
    ]
    for side, batch in [(32, 2)] if tiny else SIZES:
        if deadline.left() < 0:
            lines.append(f"| {side}, {batch} | no time left |" + " |" * (len(KINDS) + 2))
            continue
        rates, memory = measure_steps(side, batch, device, tiny)
        ratios = [a / b for a, b in zip(rates[KINDS[3]], rates[KINDS[0]], strict=True)]
        gflop = step_gflop(configuration(side, batch, tiny), device)
        share = gflop * median(rates[KINDS[3]]) / batch / 1000 / peak
        cells = [f"{side}, {batch}", *(spread(rates[kind]) for kind in KINDS), spread(ratios)]
        cells += [f"{share:.1%}", f"{memory.get(KINDS[3], 0):.2f} ({memory['estimated']:.2f})"]
        lines.append(f"| {' | '.join(cells)} |")
        print(lines[-1], flush=True)
        if device.type == "cuda":
            torch.cuda.empty_cache()
    return lines


def step_gflop(config: RunConfig, device: torch.device) -> float:
    """GFLOP of one of our steps, as counted in it."""
    step = a_step("ours eager", config, device)
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops() / 1e9


def multiplication_tflops(device: torch.device, side: int) -> float:
    """What the device multiplies square bfloat16 matrices at, the best of ten."""
    a = torch.ones(side, side, dtype=torch.bfloat16, device=device)
    times = [seconds_of(lambda: torch.mm(a, a), 1, device) for _ in range(10)]
    return 2 * side**3 / min(times) / 1e12


def launch_rows(device: torch.device, tiny: bool, deadline: Deadline) -> list[str]:
    """Kernels and launches of a step, and the time that the host takes to launch it."""
    lines = ["| kind, 256 px, batch 8 | kernels | launches | host ms | device ms |"]
    lines.append("|---|---:|---:|---:|---:|")
    config = configuration(32, 2, True) if tiny else configuration(256, 8, False)
    activities = [torch.profiler.ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    for kind in KINDS:
        step = a_step(kind, config, device)
        seconds_of(step, 1 if tiny else 6, device)
        with torch.profiler.profile(activities=activities) as profiler:
            step()
            synchronize(device)
        events = profiler.events()
        on_device = [e for e in events if e.device_type == torch.autograd.DeviceType.CUDA]
        launches = sum("LaunchKernel" in e.name or "GraphLaunch" in e.name for e in events)
        busy = sum(event.time_range.elapsed_us() for event in on_device) / 1000
        start = time.perf_counter()
        step()
        host = 1000 * (time.perf_counter() - start)
        synchronize(device)
        lines.append(f"| {kind} | {len(on_device)} | {launches} | {host:.2f} | {busy:.2f} |")
    return lines


def evaluation_rows(device: torch.device, tiny: bool, deadline: Deadline) -> list[str]:
    """Generating, looking at and comparing pictures for a metric, by the embedded network."""
    config = configuration(32, 2, True) if tiny else configuration(256, 8, False)
    generator = new_state(config, 64, device).ema.eval()
    extractor = load_extractor("efficientnet_lite0", device)
    count, batch = (8, 4) if tiny else (2048, 32)

    def features() -> Tensor:
        found = []
        with torch.inference_mode():
            for _ in range(count // batch):
                z_BZ = torch.randn(batch, config.model.nz, device=device)
                found.append(extractor((generator(z_BZ)[0].float() + 1) * 127.5))
        return torch.cat(found)

    seconds = [seconds_of(features, 1, device) for _ in range(3)]
    some = features().double().cpu().numpy()
    start = time.perf_counter()
    frechet_distance(some, 1.01 * some[::-1])
    solve = time.perf_counter() - start
    rates = [count / each for each in seconds[1:]]
    text = f"{count} pictures: {spread(rates)} a second to generate and look at"
    return [f"{text}, {solve:.2f} s for the distance on the CPU."]


def lpips_rows(device: torch.device, tiny: bool, deadline: Deadline) -> list[str]:
    """The share of a step that LPIPS takes."""
    times = {}
    for name in ("lpips_vgg", "l1"):
        changes = {"train.reconstruction": name}
        config = configuration(32 if tiny else 256, 2 if tiny else 8, tiny, **changes)
        step = a_step("ours captured", config, device)
        seconds_of(step, 1 if tiny else 6, device)
        times[name] = median(seconds_of(step, 1 if tiny else STEPS, device) for _ in range(TURNS))
    share = 1 - times["l1"] / times["lpips_vgg"]
    return [f"LPIPS takes {share:.0%} of a captured step at 256 px, batch 8."]


def side_by_side_rows(device: torch.device, tiny: bool, deadline: Deadline) -> list[str]:
    """Images a second of several trainings on one GPU, added up."""
    sides = (32,) if tiny else (64, 256)
    headings = ["trainings at once", *(f"{side} px, img/s" for side in sides)]
    lines = [f"| {' | '.join(headings)} |", "|---:" * len(headings) + "|"]
    for count in SIDE_BY_SIDE[:2] if tiny else SIDE_BY_SIDE:
        cells = []
        for side in sides:
            if deadline.left() < 20:
                cells.append("no time left")
                continue
            command = [sys.executable, __file__, "--train", str(side), *(["--tiny"] * tiny)]
            workers = [
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                for _ in range(count)
            ]
            for worker in workers:
                assert worker.stdout is not None
                worker.stdout.readline()  # it is ready
            for worker in workers:
                assert worker.stdin is not None
                worker.stdin.write("go\n")
                worker.stdin.flush()
            rates = [float(worker.communicate()[0]) for worker in workers]
            cells.append(f"{sum(rates):.0f}")
        lines.append(f"| {count} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    return lines


def train_when_told(side: int, tiny: bool, device: torch.device) -> None:
    """Be one of several trainings: get ready, wait for a line, train for ten seconds."""
    batch = 2 if tiny else 8
    step = a_step("ours captured", configuration(side, batch, tiny), device)
    seconds_of(step, 1 if tiny else 6, device)
    print("ready", flush=True)
    sys.stdin.readline()
    steps, end = 0, time.monotonic() + (0.5 if tiny else 10)
    start = time.monotonic()
    while time.monotonic() < end:
        step()
        steps += 1
    synchronize(device)
    print(steps * batch / (time.monotonic() - start))


def spread(values: list[float]) -> str:
    """Median (smallest to largest)."""
    return f"{median(values):.3g} ({min(values):.3g} to {max(values):.3g})"


SECTIONS: dict[str, Callable[[torch.device, bool, Deadline], list[str]]] = {
    "Training steps": step_rows,
    "Launches": launch_rows,
    "Trainings side by side": side_by_side_rows,
    "LPIPS": lpips_rows,
    "Evaluation": evaluation_rows,
}


def main() -> None:
    """Measure, or be one of the trainings side by side."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=480.0)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--train", type=int, help="be one of several trainings, at this side")
    arguments = parser.parse_args()
    device = choose_device(arguments.device)
    keep_freed_memory()
    if device.type == "cpu":
        torch.set_num_threads(1)
    if arguments.train:
        train_when_told(arguments.train, arguments.tiny, device)
        return
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    today = datetime.datetime.now(datetime.timezone.utc).date()
    lines = ["# A training on a GPU", "", f"`python benchmarks/gpu.py`; {today}; {name}; PyTorch "]
    lines[-1] += f"{torch.__version__}. Median (smallest to largest) of {TURNS} turns."
    deadline = Deadline(arguments.seconds)
    for title, measure in SECTIONS.items():
        lines += ["", f"## {title}", ""]
        if deadline.left() < 0:
            lines.append("Not measured: no time left.")
        else:
            lines += measure(device, arguments.tiny, deadline)
        arguments.out.write_text("\n".join(lines) + "\n")
    print(arguments.out.read_text())


if __name__ == "__main__":
    main()
