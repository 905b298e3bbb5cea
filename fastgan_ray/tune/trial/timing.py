"""Measure the speed of training and evaluation on this machine, with a few steps."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.metrics.evaluate import latents
from fastgan_ray.metrics.extractors import load_extractor
from fastgan_ray.models.kernels import reference_kernels
from fastgan_ray.search.cost.timing import Timing
from fastgan_ray.train.device import device_of, training_arithmetic, use_bf16, wait_for
from fastgan_ray.train.draws import draw_step, to_device
from fastgan_ray.train.perceptual import load_distance
from fastgan_ray.train.rng import seeded
from fastgan_ray.train.state import TrainState, new_state
from fastgan_ray.train.step import train_step
from fastgan_ray.train.threads import cpu_threads
from fastgan_ray.tune.ray.gpus import local_gpus
from fastgan_ray.tune.ray.resources import max_concurrent, request

SECONDS = 60.0  # after this time, no further class of configurations is timed
# The number of timed steps, after one untimed step. The time of the fastest step is used, because
# other programs can only slow down a step.
STEPS = 3
TRAINING = ("batch_size", "d_steps", "loss", "reconstruction", "device", "precision")
ON_OFF = (
    *("r1_gamma", "r2_gamma", "gradient_gap_weight", "lecam_weight", "bcr_real_weight"),
    *("bcr_fake_weight", "zcr_d_weight", "zcr_g_weight", "instance_noise", "augself_g_weight"),
    *("mixdl_g_weight", "alignment_weight", "insgen_g_weight"),
)

Clock = Callable[[], float]


def time_configs(configs: Iterable[RunConfig], seconds: float = SECONDS) -> Timing:
    """Time training and evaluation with some of `configs`; return the mean speed.

    The configurations are timed in their order, until about `seconds` have passed. Configurations
    that have the same cost (see `cost_class`) form a class, and only one of them is timed. At least
    one class is timed. Raises UserError if network weights are missing.
    """
    start = time.monotonic()
    costs: dict[tuple[Any, ...], tuple[float, float]] = {}
    timed: list[RunConfig] = []
    for config in configs:
        key = cost_class(config)
        if key not in costs and costs and time.monotonic() - start > seconds:
            break
        if key not in costs:
            with cpu_threads(config.resources):
                costs[key] = time_class(config)
        timed.append(config)
    times = [costs[cost_class(config)] for config in timed]
    gpus = float(torch.cuda.device_count())
    nodes = [{"CPU": float(os.cpu_count() or 1), "GPU": gpus, **local_gpus()}]
    at_once = max_concurrent([request(config, nodes) for config in timed], nodes)
    return Timing(
        seconds_per_kimg=statistics.fmean(step for step, _ in times),
        seconds_per_kfakes=statistics.fmean(fake for _, fake in times),
        at_once=at_once,
        configurations=len(timed),
        classes=len(costs),
        seconds=time.monotonic() - start,
    )


def cost_class(config: RunConfig) -> tuple[Any, ...]:
    """Return the settings that determine how long a training step and an evaluation take.

    Two configurations have the same cost if this function returns the same tuple for both.
    """
    train = config.train
    return (
        tuple(map(str, config.model.model_dump().values())),
        config.data.mode,
        config.augment.policy,
        config.eval.extractor,
        config.resources.cpus,
        config.regan.largest("sparsity") > 0,
        *(getattr(train, name) for name in TRAINING),
        *(train.largest(name) > 0 for name in ON_OFF),
    )


def time_step(config: RunConfig, clock: Clock = time.perf_counter) -> float:
    """Return how long a training step takes, in seconds measured by `clock`."""
    return _time_step(config, clock)[0]


def _time_step(config: RunConfig, clock: Clock = time.perf_counter) -> tuple[float, TrainState]:
    """Return how long a training step takes, in seconds, and the state of the training."""
    device = device_of(config)
    state = new_state(config, config.train.batch_size, device)
    background = config.data.background
    distance = load_distance(config.train.reconstruction, device, background)
    bf16 = use_bf16(config, device)
    shape = config.train.batch_size, config.data.channels, *config.model.size
    noise = torch.rand(shape, generator=seeded(0, "timing")).to(device) * 2 - 1
    batches = [noise] * config.train.d_steps
    with training_arithmetic(config), reference_kernels(config.train.precision == "fp32"):
        draws = to_device(draw_step(state, config), device)
        step = _fastest(
            lambda: train_step(state, draws, batches, config, distance, bf16), device, clock
        )
    return step, state


def time_class(config: RunConfig) -> tuple[float, float]:
    """Return the seconds to train on 1000 images, and the seconds to evaluate 1000 pictures."""
    device = device_of(config)
    step, state = _time_step(config)
    if config.eval.extractor == "none":
        return step / config.train.images_per_step * 1000, 0.0
    extractor = load_extractor(
        config.eval.extractor, device, config.data.background, config.eval.picture_px
    )
    z_BZ = latents(config.eval, config.model.nz)[: config.eval.batch_size].to(device)

    def evaluate() -> Tensor:
        with torch.inference_mode():
            return extractor((state.ema(z_BZ)[0].float() + 1) * 127.5)

    images = config.train.images_per_step
    return step / images * 1000, _fastest(evaluate, device) / len(z_BZ) * 1000


def _fastest(
    run: Callable[[], object], device: torch.device, clock: Clock = time.perf_counter
) -> float:
    """Call `run` once untimed, then STEPS times; return the seconds of the fastest call.

    `clock` returns the time in seconds.
    """
    run()
    seconds = []
    for _ in range(STEPS):
        start = clock()
        run()
        wait_for(device)
        seconds.append(clock() - start)
    return min(seconds)
