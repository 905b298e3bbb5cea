"""Estimate what a search costs from the arithmetic of one trial, before anything runs."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.models import build_discriminator, build_generator, small_resolution
from fastgan_ray.models.kernels import reference_kernels
from fastgan_ray.search.file.early_terminate import Hyperband
from fastgan_ray.search.file.spec import SearchSpec, base_settings, first_trial_point

# GFLOP for one reconstructed picture of 128 x 128 px: the distance's network on it and on its
# target, and the gradient. A pass takes 10.0 in VGG-16 (to its last convolution), 0.8 in Lite0.
RECONSTRUCTION_GFLOP = {"lpips_vgg": 30.0, "efficientnet_lite0": 2.4, "l1": 0.0, "l2": 0.0}
# What a loss costs beyond hinge, in forward passes of D: in each of D's steps (a gradient penalty
# is differentiated twice), and in each of G's (a paired loss also needs the real pictures' logits).
EXTRA_D_PASSES = {"wasserstein": 6}
EXTRA_G_PASSES = {"relativistic": 1}
FORWARD_BACKWARD = 3  # forward plus backward costs three forward passes
# The paper's speed at 256 px: 80 kimg an hour on a 2080 Ti, without evaluations.
RTX_2080_TI_GFLOPS = 4460.0


def hours(kimg: float, gflop_per_image: float, gflops: float = RTX_2080_TI_GFLOPS) -> float:
    """Return the hours for `kimg` on a device that sustains `gflops` (10**9 operations / s)."""
    return kimg * 1000 * gflop_per_image / gflops / 3600


def kimg_expected(spec: SearchSpec) -> float:
    """Return the kimg of all trials if the best 1/eta pass each rung; the budget is ignored."""
    total: float = {**base_settings(spec), **first_trial_point(spec)}["train.total_kimg"]
    per_trial = total
    for rule in (rule for rule in spec.early_terminate if isinstance(rule, Hyperband)):
        edges = [0.0, *rule.rungs(total), total]
        intervals = enumerate(itertools.pairwise(edges))
        per_trial = min(
            per_trial, sum((end - start) / rule.eta**rung for rung, (start, end) in intervals)
        )
    return spec.run_cap * per_trial


def gflop_per_image(config: RunConfig) -> float:
    """Return the GFLOP of a training step for each real picture in it.

    Counted on the real networks, in the published form of their layers, without computing anything.
    Lazy R1 and R2 penalties are left out.
    """
    model, train = config.model, config.train
    meta = torch.device("meta")
    generator = build_generator(model).eval().to(meta)
    discriminator = build_discriminator(model).eval().to(meta)
    side, small = model.resolution, small_resolution(model.resolution)
    full_BCHW = torch.empty(1, 3, side, side, device=meta)
    small_BCHW = torch.empty(1, 3, small, small, device=meta)
    with torch.no_grad():
        generate = _gflop(lambda: generator(torch.empty(1, model.nz, device=meta)))
        discriminate = _gflop(lambda: discriminator(full_BCHW, small_BCHW))
        decode = _gflop(lambda: discriminator(full_BCHW, small_BCHW, part=0))
        embed = _gflop(lambda: discriminator.embed(full_BCHW)) if model.contrasts else 0.0
        _, reconstructions = discriminator(full_BCHW, small_BCHW, part=0)
    pictures: float = sum((picture.shape[-1] / 128) ** 2 for picture in reconstructions.values())
    # D's step: a real and a generated picture, and two views of the real one to contrast.
    d_step = generate + FORWARD_BACKWARD * (decode + discriminate + 2 * embed)
    d_step += EXTRA_D_PASSES.get(train.loss, 0) * discriminate
    d_step += pictures * RECONSTRUCTION_GFLOP[train.reconstruction]
    # G's step: backward through the generated picture that D's step has made.
    g_step = (FORWARD_BACKWARD - 1) * generate + FORWARD_BACKWARD * discriminate
    g_step += EXTRA_G_PASSES.get(train.loss, 0) * discriminate
    return d_step + g_step / train.d_steps


def _gflop(run: Callable[[], object]) -> float:
    with reference_kernels(), FlopCounterMode(display=False) as counter:
        run()
    return float(counter.get_total_flops()) / 1e9
