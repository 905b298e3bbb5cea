"""Measure the training speed of this machine's CPU once, and store it in the cache."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from pathlib import Path

import torch

from fastgan_ray.config.paths import cache_dir
from fastgan_ray.config.resources import ResourcesConfig
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.data.cache import atomic_file
from fastgan_ray.errors import UserError
from fastgan_ray.search.cost.estimate import gflop_per_image
from fastgan_ray.search.cost.timing import CpuSpeed
from fastgan_ray.train.device import device_of
from fastgan_ray.train.threads import cpu_threads, thread_count
from fastgan_ray.tune.ray.compat import core_count
from fastgan_ray.tune.ray.resources import max_concurrent, request
from fastgan_ray.tune.trial.timing import Clock, time_step

_VERSION = 1  # increase this number when a change of the code changes the results
# A small and a large network, because small layers do not reach the full speed of a CPU.
NETWORKS = (
    {"resolution": 64, "ngf": 8, "ndf": 8, "decoder_width": 4},
    {"resolution": 128, "ngf": 16, "ndf": 16},
)
BATCH_SIZE = 4


def speed_of_this_cpu(config: RunConfig) -> CpuSpeed | None:
    """Return the speed of this machine's CPU, and how many trainings of `config` fit at once.

    Returns None if a training of `config` runs on a GPU, or if its device does not exist on this
    machine.
    """
    try:
        if device_of(config).type != "cpu":
            return None
    except UserError:  # this machine does not have the device
        return None
    nodes = [{"CPU": core_count(), "GPU": 0.0}]
    at_once = max_concurrent([request(config, nodes)], nodes)
    return CpuSpeed(_measured(config.resources), at_once)


def _measured(resources: ResourcesConfig) -> list[tuple[float, float]]:
    """Return (GFLOP per picture, GFLOP per second) for each network in NETWORKS.

    The speed is measured only once; later calls read it from the cache.
    """
    path = _cache_path(resources)
    try:
        return [(gflop, gflops) for gflop, gflops in json.loads(path.read_text())]
    except (OSError, ValueError, TypeError):
        pass
    # With a single thread, CPU time is measured, because it excludes the work of other programs.
    clock = time.process_time if thread_count(resources) == 1 else time.perf_counter
    with cpu_threads(resources):
        pairs = [_measure(network, clock) for network in NETWORKS]
    with atomic_file(path) as draft:
        draft.write_text(json.dumps(pairs))
    return pairs


def _measure(network: dict[str, int], clock: Clock) -> tuple[float, float]:
    train = {"batch_size": BATCH_SIZE, "reconstruction": "l1", "device": "cpu"}
    config = RunConfig.model_validate({"model": network, "train": train})
    gflop = gflop_per_image(config)
    return gflop, gflop * config.train.images_per_step / time_step(config, clock)


def _cache_path(resources: ResourcesConfig) -> Path:
    settings = [_VERSION, _processor(), torch.__version__, thread_count(resources)]
    key = hashlib.sha256(json.dumps(settings).encode()).hexdigest()
    return cache_dir() / "cpu_speed" / f"{key}.json"


def _processor() -> str:
    """Return the name of this machine's processor, or its architecture if the name is unknown."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else f"{platform.machine()} {platform.processor()}"
