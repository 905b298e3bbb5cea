"""Estimate how much memory a training takes from its configuration, right within a quarter."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from fastgan_ray.config.run_config import ModelConfig, RunConfig
from fastgan_ray.config.training import CPU_BF16_FROM_PX
from fastgan_ray.models import small_resolution
from fastgan_ray.models.discriminator import discriminator_channels
from fastgan_ray.models.generator import COMPOUND_SIDES, generator_channels, skip_sources

# Rough: CUDA itself, the feature network and its batch.
CUDA_GB = 2.0
# Measured: a trial's process with PyTorch, Ray, the pictures and a feature network; and what the
# libraries allocate at the first step, for compiled kernels and their scratch memory.
PROCESS_GB, SCRATCH_GB = 0.75, 0.17
# In float32 the weight, its gradient, two moments of Adam and the normalised weight. On top of
# these, G has a weight average, and D is used twice.
BYTES_PER_WEIGHT = 24
# Feature maps kept for the backward pass, counted on the networks (docs/findings.md), in maps of a
# stage's width. A gated convolution keeps the inputs of its normalisation and of its gate, each
# twice as wide, and its output; for D's stages it is the mean of their two paths.
MAPS_PER_GATED, MAPS_PER_DOWN, MAPS_PER_DCGAN = 5, 6, 3
# For a moment there are also the gradients of the largest map, twice as wide.
TEMPORARY_MAPS = 6
# The reconstruction's network: its weights, and what it keeps for each pixel of a decoded picture
# until the gradient is computed, counted by PyTorch's saved-tensor hooks.
RECONSTRUCTION_WEIGHTS = {"lpips_vgg": 14.7e6, "efficientnet_lite0": 4.6e6, "l1": 0.0, "l2": 0.0}
RECONSTRUCTION_VALUES = {"lpips_vgg": 610.0, "efficientnet_lite0": 560.0, "l1": 0.0, "l2": 0.0}
LPIPS_PICTURES_ON_CPU = 4  # that train/perceptual.py takes at a time; a GPU takes the whole batch
# GPUs from this compute capability on multiply bfloat16; older ones (Volta, Turing) train in fp32.
BF16_CAPABILITY = 8.0


def gpu_gb_of(config: RunConfig, capability: float = BF16_CAPABILITY) -> float:
    """Return the GPU memory of a training in GB, on a GPU of this compute capability (7.5, 8.0)."""
    auto = config.train.precision == "auto" and capability >= BF16_CAPABILITY
    bf16 = config.train.precision == "bf16" or auto
    pictures = config.train.batch_size
    return CUDA_GB + training_gb(config, bf16) + reconstruction_gb(config, bf16, pictures)


def host_gb_of(config: RunConfig) -> float:
    """Return the machine's memory that a worker takes, in GB, when it trains on the CPU."""
    large = config.model.resolution >= CPU_BF16_FROM_PX
    bf16 = config.train.precision == "bf16" or (config.train.precision == "auto" and large)
    pictures = min(config.train.batch_size, LPIPS_PICTURES_ON_CPU)
    training = training_gb(config, bf16) + reconstruction_gb(config, bf16, pictures)
    return PROCESS_GB + SCRATCH_GB + training / config.resources.workers


def training_gb(config: RunConfig, bf16: bool) -> float:
    """Return the GB of weights, their gradients and moments, and maps for the backward passes."""
    count = COUNTS[config.model.architecture]
    weights, maps, largest = count(config.model, config.train.gradient_checkpointing)
    bytes_per_value = 2 if bf16 else 4
    map_bytes = config.train.batch_size * (maps + TEMPORARY_MAPS * largest) * bytes_per_value
    return (weights * BYTES_PER_WEIGHT + map_bytes) / 1e9


def reconstruction_gb(config: RunConfig, bf16: bool, pictures: int) -> float:
    """Return the GB that the decoders' distance takes, with LPIPS on `pictures` at a time.

    LPIPS keeps nothing after it has its gradient, so that one decoder counts; the embedded network
    keeps its features of all decoders until the backward pass.
    """
    model, kind = config.model, config.train.reconstruction
    if not model.autoencodes:
        return 0.0
    decoders = model.decode_full + model.decode_small + (model.decode_part != "none")
    if kind != "lpips_vgg":
        pictures = config.train.batch_size * decoders
    pixels = pictures * small_resolution(model.resolution) ** 2
    bytes_per_value = 2 if bf16 and kind == "lpips_vgg" else 4
    values = RECONSTRUCTION_VALUES[kind] * pixels * bytes_per_value
    return (values + 4 * RECONSTRUCTION_WEIGHTS[kind]) / 1e9


def _fastgan(model: ModelConfig, gradient_checkpointing: bool) -> tuple[float, float, float]:
    """Count weights, kept values for each picture, and values of the largest map.

    With `gradient_checkpointing`, up and down blocks store only their inputs, and the maps of
    only one block exist at a time.
    """
    g = generator_channels(model)
    # D's maps are half as wide as the level whose channels they have, the stem's at most 256.
    down_stages = [
        (min(level // 2, 256), width)
        for level, width in discriminator_channels(model).items()
        if level > 8
    ]
    decoder_stages = [
        (side, times * model.decoder_width)
        for side, times in {16: 4, 32: 2, 64: 2, 128: 1}.items()
        if side <= model.resolution and model.autoencodes
    ]
    convolutions = {side: 2 if side in COMPOUND_SIDES else 1 for side in g}
    ups = [(convolutions[side], width * side**2) for side, width in g.items()]
    ups += 3 * [(1, width * side**2) for side, width in decoder_stages]
    downs = [width * side**2 for side, width in down_stages]
    if gradient_checkpointing:
        blocks = [MAPS_PER_GATED * count * size for count, size in ups]
        blocks += [MAPS_PER_DOWN * size for size in downs]
        maps = sum(size for _, size in ups) + 2 * 2 * sum(downs) + max(blocks)
    else:
        maps = MAPS_PER_GATED * sum(count * size for count, size in ups)
        maps += 2 * MAPS_PER_DOWN * sum(downs)
    skips = sum(g[side] * side**2 for side in skip_sources(model))
    pictures = 3 * (model.resolution**2 + small_resolution(model.resolution) ** 2)
    largest = max(width * side**2 for side, width in [*g.items(), *down_stages])
    weights = _fastgan_weights(model, g, convolutions, [width for _, width in down_stages])
    return weights, maps + skips + 2 * pictures, largest


def _fastgan_weights(
    model: ModelConfig, g: dict[int, int], convolutions: dict[int, int], d_widths: list[int]
) -> float:
    weights = 16 * model.nz * 2 * g[4]
    for side, width in g.items():
        weights += 9 * 2 * width * (g.get(side // 2, 0) + (convolutions[side] - 1) * width)
    for side, source in skip_sources(model).items():
        weights += 16 * g[source] * g[side] + g[side] ** 2
    return weights + sum((2 * 16 + 9 + 1) * a * b for a, b in itertools.pairwise(d_widths))


def _dcgan(model: ModelConfig, gradient_checkpointing: bool) -> tuple[float, float, float]:
    width, sides = model.dcgan_width, [4 << level for level in range(model.dcgan_depth + 1)]
    maps = MAPS_PER_DCGAN * 3 * sum(width * side**2 for side in sides)
    weights = 2 * 16 * width * (width * model.dcgan_depth + model.nz)
    return weights, maps, width * sides[-1] ** 2


COUNTS: dict[str, Callable[[ModelConfig, bool], tuple[float, float, float]]] = {
    "fastgan": _fastgan,
    "dcgan": _dcgan,
}
