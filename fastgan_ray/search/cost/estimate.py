"""What a search will cost: an estimate from the arithmetic of one trial, before anything runs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.models import build_discriminator, build_generator, small_resolution
from fastgan_ray.models.upsample import reference_kernels
from fastgan_ray.search.file.spec import SearchSpec, base_values, first_point, run_config
from fastgan_ray.search.stopping import Halving
from fastgan_ray.train.losses import LOSSES

# Of one decoded picture of 128 x 128 px: the network on it and its target, and back to the picture.
# VGG-16 to its last convolution 10.0 GFLOP a pass; Lite0 at 224 px 0.8.
RECONSTRUCTION_GFLOP = {"lpips_vgg": 30.0, "efficientnet_lite0": 2.4, "l1": 0.0, "l2": 0.0}
# The paper's figure at 256 px: 80 kimg an hour on a 2080 Ti, evaluation not counted.
RTX_2080_TI_GFLOPS = 4460.0


@dataclass(frozen=True)
class Estimate:
    """A search's cost if every trial were like its first; evaluations are not counted."""

    trials: int
    gflop_per_image: float
    kimg_at_most: float
    kimg_expected: float  # if the best 1/eta pass each rung


@dataclass(frozen=True)
class Timing:
    """What was measured on this machine, as means over configurations; see `seconds_of`.

    `seconds_per_kfakes`: to generate a thousand pictures and have the metric's network look at
    them. `at_once`: trainings that fit on the machine; `seconds`: what the measuring itself took.
    """

    seconds_per_kimg: float
    seconds_per_kfakes: float
    at_once: int
    configurations: int
    classes: int
    seconds: float


def seconds_of(timing: Timing, kimg: float, config: RunConfig) -> float:
    """Seconds of the clock for `kimg` in trainings like `config`, with evaluations' pictures.

    The statistics of evaluations, the start of processes and the reading of pictures are left out.
    """
    total, every, cheap = config.train.total_kimg, config.eval.every_kimg, config.eval.early_fakes
    early = math.ceil(total / every - 1e-9) - 1
    kfakes = (early * (cheap or config.eval.num_fakes) + config.eval.num_fakes) / 1000
    each = timing.seconds_per_kimg + timing.seconds_per_kfakes * kfakes / total
    return kimg * each / timing.at_once


def hours(kimg: float, gflop_per_image: float, gflops: float = RTX_2080_TI_GFLOPS) -> float:
    """Hours that a device which sustains `gflops` (10**9 operations a second) needs for `kimg`."""
    return kimg * 1000 * gflop_per_image / gflops / 3600


def estimate(spec: SearchSpec) -> Estimate:
    """The cost of a search, from the configuration that it starts with."""
    config = run_config(spec, first_point(spec))
    return Estimate(
        trials=spec.run_cap,
        gflop_per_image=gflop_per_image(config),
        kimg_at_most=spec.run_cap * config.train.total_kimg,
        kimg_expected=kimg_expected(spec),
    )


def kimg_expected(spec: SearchSpec) -> float:
    """Thousands of images in all trials if the best 1/eta pass each rung; its budget aside."""
    total: float = {**base_values(spec), **first_point(spec)}["train.total_kimg"]
    expected = total
    for early in (rule for rule in spec.early_terminate if isinstance(rule, Halving)):
        edges = [0.0, *early.rungs(total), total]
        stages = enumerate(itertools.pairwise(edges))
        length = sum((end - start) / early.eta**rung for rung, (start, end) in stages)
        expected = min(expected, length)
    return spec.run_cap * expected


def gflop_per_image(config: RunConfig) -> float:
    """GFLOP of a training step for each real image in it, lazy R1 and R2 penalties left out.

    Counted on the real networks without doing the sums, in the published form. There and back is
    thrice there, with a gradient penalty on the way six times there.
    """
    model, steps = config.model, config.train.d_steps
    loss = LOSSES[config.train.loss]
    meta = torch.device("meta")
    generator = build_generator(model).eval().to(meta)
    discriminator = build_discriminator(model).eval().to(meta)
    side, small = model.resolution, small_resolution(model.resolution)
    full_BCHW = torch.empty(1, 3, side, side, device=meta)
    small_BCHW = torch.empty(1, 3, small, small, device=meta)
    with torch.no_grad():
        made = _gflop(lambda: generator(torch.empty(1, model.nz, device=meta)))
        judged = _gflop(lambda: discriminator(full_BCHW, small_BCHW))
        decoded = _gflop(lambda: discriminator(full_BCHW, small_BCHW, part=0))
        embedded = _gflop(lambda: discriminator.embed(full_BCHW)) if model.contrasts else 0.0
        _, reconstructions = discriminator(full_BCHW, small_BCHW, part=0)
    pictures: float = sum((picture.shape[-1] / 128) ** 2 for picture in reconstructions.values())
    # At each of D's steps: a real and a generated picture, two views of the real one.
    d_step = made + 3 * decoded + 3 * judged + 2 * 3 * embedded
    d_step += 6 * judged if loss.penalty is not None else 0.0
    d_step += pictures * RECONSTRUCTION_GFLOP[config.train.reconstruction]
    # At each of G's: back through the last generated picture, and a look at the real one.
    g_step = 2 * made + 3 * judged + (judged if loss.paired else 0.0)
    return d_step + g_step / steps


def _gflop(run: Callable[[], object]) -> float:
    with reference_kernels(), FlopCounterMode(display=False) as counter:
        run()
    return float(counter.get_total_flops()) / 1e9
