"""How much memory training takes: an estimate from a configuration, right within a quarter."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from fastgan_ray.config.run_config import ModelConfig, RunConfig
from fastgan_ray.models import small_resolution
from fastgan_ray.models.discriminator import discriminator_channels
from fastgan_ray.models.generator import COMPOUND_SIDES, generator_channels, skip_sources
from fastgan_ray.train.device import BF16_FROM_PX

# Rough: CUDA itself, the feature network and its batch.
CUDA_GB = 2.0
# A trial's process with PyTorch, Ray, the pictures and a feature network, as measured, and what
# the libraries set aside in it at the first step: compiled kernels, and scratch for them.
PROCESS_GB, SCRATCH_GB = 0.75, 0.17
# float32 weight, gradient, two moments of Adam, and the normalised weight; G has an average, too,
# and D is used twice.
BYTES_PER_WEIGHT = 24
# What the backward pass keeps, in maps of a stage's width, counted on the networks
# (docs/findings.md): of a gated convolution what goes into the normalisation and the
# gate, twice the width each, and what comes out; of D's stages, averaged over its two paths.
MAPS_PER_GATED, MAPS_PER_DOWN, MAPS_PER_DCGAN = 5, 6, 3
# Beside it for a moment: gradients of the largest map, twice the width.
MAPS_AT_ONCE = 6


def gpu_gb_of(config: RunConfig) -> float:
    """What training takes of a GPU's memory, in GB."""
    return CUDA_GB + training_gb(config, bf16=config.train.precision != "fp32")


def host_gb_of(config: RunConfig) -> float:
    """What a worker takes of its machine's memory, in GB, where it trains on the CPU."""
    bf16 = config.train.precision == "bf16"
    bf16 = bf16 or (config.train.precision == "auto" and config.model.resolution >= BF16_FROM_PX)
    return PROCESS_GB + SCRATCH_GB + training_gb(config, bf16) / config.resources.workers


def training_gb(config: RunConfig, bf16: bool) -> float:
    """Weights, their gradients and moments, and what a step keeps for its backward passes."""
    again = config.train.gradient_checkpointing
    weights, maps, largest = COUNTS[config.model.architecture](config.model, again)
    bytes_each = 2 if bf16 else 4
    kept = config.train.batch_size * (maps + MAPS_AT_ONCE * largest) * bytes_each
    return (weights * BYTES_PER_WEIGHT + kept) / 1e9


def _fastgan(model: ModelConfig, again: bool) -> tuple[float, float, float]:
    """Weights, values kept for each picture, and values of the largest map.

    `again`: of up and down blocks only what goes into them is kept, and one block's maps at a time.
    """
    g, d = generator_channels(model), discriminator_channels(model)
    # D's maps are half as wide as the level that they have the channels of, the stem's at most 256.
    judged = [(min(level // 2, 256), width) for level, width in d.items() if level > 8]
    decoded = [
        (side, times * model.decoder_width)
        for side, times in {16: 4, 32: 2, 64: 2, 128: 1}.items()
        if side <= model.resolution and model.autoencodes
    ]
    convolutions = {side: 2 if side in COMPOUND_SIDES else 1 for side in g}
    ups = [(convolutions[side], width * side**2) for side, width in g.items()]
    ups += 3 * [(1, width * side**2) for side, width in decoded]
    downs = [width * side**2 for side, width in judged]
    skipped = sum(g[side] * side**2 for side in skip_sources(model))
    pictures = 3 * (model.resolution**2 + small_resolution(model.resolution) ** 2)
    if again:
        blocks = [MAPS_PER_GATED * count * size for count, size in ups]
        blocks += [MAPS_PER_DOWN * size for size in downs]
        maps = sum(size for _, size in ups) + 2 * 2 * sum(downs) + max(blocks)
    else:
        maps = MAPS_PER_GATED * sum(count * size for count, size in ups)
        maps += 2 * MAPS_PER_DOWN * sum(downs)
    maps += skipped + 2 * pictures
    weights = 16 * model.nz * 2 * g[4]
    for side, width in g.items():
        weights += 9 * 2 * width * (g.get(side // 2, 0) + (convolutions[side] - 1) * width)
    for side, source in skip_sources(model).items():
        weights += 16 * g[source] * g[side] + g[side] ** 2
    widths = [width for _, width in judged]
    weights += sum((2 * 16 + 9 + 1) * a * b for a, b in itertools.pairwise(widths))
    largest = max(width * side**2 for side, width in [*g.items(), *judged])
    return weights, maps, largest


def _dcgan(model: ModelConfig, again: bool) -> tuple[float, float, float]:
    width, sides = model.dcgan_width, [4 << level for level in range(model.dcgan_depth + 1)]
    maps = MAPS_PER_DCGAN * 3 * sum(width * side**2 for side in sides)
    weights = 2 * 16 * width * (width * model.dcgan_depth + model.nz)
    return weights, maps, width * sides[-1] ** 2


COUNTS: dict[str, Callable[[ModelConfig, bool], tuple[float, float, float]]] = {
    "fastgan": _fastgan,
    "dcgan": _dcgan,
}
