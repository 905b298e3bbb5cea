"""Estimate the cost of a search: operations per image, images of all trials, GPU-hours."""

from __future__ import annotations

import itertools

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.config.task_fields import INSTANCE_KINDS
from fastgan_ray.models.passes import count_passes
from fastgan_ray.search.file.early_terminate import Chance, Hyperband
from fastgan_ray.search.file.spec import (
    SearchSpec,
    base_settings,
    first_trial_point,
    trial_count,
)

# GFLOP of the reconstruction loss for one picture of 128 x 128 px: the loss network runs on the
# picture and on its target, and the gradient is computed. One forward pass takes 10.0 GFLOP in
# VGG-16 (up to its last convolution) and 0.8 GFLOP in EfficientNet-Lite0.
RECONSTRUCTION_GFLOP = {"lpips_vgg": 30.0, "efficientnet_lite0": 2.4, "l1": 0.0, "l2": 0.0}
# The extra cost of a loss compared with hinge, in forward passes of D: a gradient penalty is
# differentiated twice in each step of D, and a relativistic loss needs the logits of real pictures
# in each step of G.
EXTRA_D_PASSES = {"wasserstein": 6}
EXTRA_G_PASSES = {"relativistic": 1}
# A penalty on D's gradients at one batch of pictures, in forward passes of D.
GRADIENT_PASSES = 5
FORWARD_BACKWARD = 3  # forward plus backward costs three forward passes
# The speed in the FastGAN paper at 256 px: 80 kimg per hour on an RTX 2080 Ti, without evaluations.
RTX_2080_TI_GFLOPS = 4460.0


def hours(kimg: float, gflop_per_image: float, gflops: float = RTX_2080_TI_GFLOPS) -> float:
    """Return the hours for `kimg` on a device whose speed is `gflops` (GFLOP per second)."""
    return kimg * 1000 * gflop_per_image / gflops / 3600


# The share of a complete training that a trial takes on average with the rule `chance`, in random
# searches on recorded data sets (benchmarks/results/stopped.md).
SHARE_BY_CHANCE = 0.8
FINISHED_BY_CHANCE = 0.4  # share of the trials that it does not stop


def kimg_expected(spec: SearchSpec) -> float:
    """Estimate the kimg that all trials take together, without the confirmation.

    At each rung of Hyperband, the best 1/eta of the trials are assumed to continue. With the rule
    `chance`, trials are assumed to take `SHARE_BY_CHANCE` of their kimg, and `FINISHED_BY_CHANCE`
    of them to finish. Trials that train a configuration with a further seed are not stopped, so
    they take their whole length. The budget is ignored.
    """
    total: float = {**base_settings(spec), **first_trial_point(spec)}["train.total_kimg"]
    per_trial, finished = total, 1.0
    for rule in (rule for rule in spec.early_terminate if isinstance(rule, Hyperband)):
        edges = [0.0, *rule.rungs(total), total]
        intervals = enumerate(itertools.pairwise(edges))
        per_trial = min(
            per_trial, sum((end - start) / rule.eta**rung for rung, (start, end) in intervals)
        )
        finished = min(finished, rule.eta ** (2 - len(edges)))
    if any(isinstance(rule, Chance) for rule in spec.early_terminate):
        per_trial = min(per_trial, SHARE_BY_CHANCE * total)
        finished = min(finished, FINISHED_BY_CHANCE)
    repeats = finished * (spec.seeds - 1)  # of each configuration, on average
    return trial_count(spec) * (per_trial + repeats * total) / (1 + repeats)


def gflop_per_image(config: RunConfig) -> float:
    """Return the GFLOP of a training step, divided by the number of real pictures in the step.

    The cost of R1 and R2 is averaged over all steps. The GFLOP of each pass come from
    `count_passes`.
    """
    model, train = config.model, config.train
    passes = count_passes(model, config.data.channels)
    generate, discriminate, task = passes.generate, passes.discriminate, passes.task
    # D's step: one real and one generated picture, and two more pictures for an extra task.
    d_step = generate + FORWARD_BACKWARD * (passes.decode + discriminate + 2 * task)
    # Frozen layers need no gradient in D's step; G's step needs only that of their inputs.
    extra_pictures = 2 * (task > 0) + train.second_views
    d_step -= (FORWARD_BACKWARD - 1) * passes.frozen * (2 + extra_pictures)
    d_step += EXTRA_D_PASSES.get(train.loss, 0) * discriminate
    on = {name: train.largest(name) > 0 for name in ("r1_gamma", "r2_gamma")}
    penalties = sum(on.values()) / train.r1_interval
    penalties += 2 if train.largest("gradient_gap_weight") > 0 else 0
    d_step += GRADIENT_PASSES * penalties * discriminate
    d_step += FORWARD_BACKWARD * discriminate * train.second_views
    d_step += generate if train.uses_near_latents else 0
    if kinds := INSTANCE_KINDS.get(model.task, ()):
        # InsGen and FakeCLR: a second view of each picture passes through a copy of D's trunk. The
        # second view of a generated picture must be generated, too. Neither needs a gradient.
        d_step += generate + len(kinds) * passes.trunk
    # MixDL: a further picture is generated from a mixture of latents. D's trunk sees both pictures
    # once more. G's loss needs the gradient of the further picture's features.
    mixes_g = train.largest("mixdl_g_weight") > 0
    mixdl = (
        generate + FORWARD_BACKWARD * 2 * passes.project if model.d_mixdl else generate * mixes_g
    )
    d_step += mixdl / train.mixdl_interval
    d_step += passes.reconstructed * RECONSTRUCTION_GFLOP[train.reconstruction]
    # G's step: it reuses the picture generated in D's step, so that G needs only a backward pass.
    g_step = (FORWARD_BACKWARD - 1) * generate + FORWARD_BACKWARD * discriminate - passes.frozen
    g_step += (FORWARD_BACKWARD - 1) * generate if train.largest("zcr_g_weight") > 0 else 0
    if model.task == "augself" and train.largest("augself_g_weight") > 0:
        g_step += FORWARD_BACKWARD * task - passes.frozen
    g_step += (FORWARD_BACKWARD - 1) * generate * mixes_g / train.mixdl_interval
    g_step += EXTRA_G_PASSES.get(train.loss, 0) * discriminate
    return d_step + g_step / train.d_steps


def parameter_counts(config: RunConfig) -> dict[str, int]:
    """Return {"params_g", "params_d"}: the numbers of parameters of the two networks."""
    passes = count_passes(config.model, config.data.channels)
    return {"params_g": passes.params_g, "params_d": passes.params_d}
