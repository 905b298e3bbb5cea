"""Estimate a training's memory from its configuration; the error is at most 25 %."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

from fastgan_ray.config.model import ModelConfig
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.config.task_fields import INSTANCE_KINDS
from fastgan_ray.config.training import CPU_BF16_FROM_PX
from fastgan_ray.models import small_size
from fastgan_ray.models.discriminator import discriminator_channels
from fastgan_ray.models.generator import (
    convolution_count,
    generator_channels,
    skip_sources,
    wavelet_sources,
)
from fastgan_ray.models.projected import MIXED_WIDTHS, discriminator_widths
from fastgan_ray.models.sngan import sngan_d_channels, sngan_g_channels
from fastgan_ray.models.stylegan2 import stylegan2_channels

# A rough value for CUDA itself, the feature network and its batch.
CUDA_GB = 2.0
# Measured values. PROCESS_GB: a trial's process with PyTorch, Ray, the pictures and a feature
# network. SCRATCH_GB: the memory that the libraries allocate at the first step, for compiled
# kernels and their scratch memory.
PROCESS_GB, SCRATCH_GB = 0.75, 0.17
# In float32: the weight, its gradient, Adam's two moments and the normalised weight. In addition, G
# has a weight average, and D is used twice.
BYTES_PER_WEIGHT = 24
# InsGen and FakeCLR keep a copy of D, in float32. At usual widths, D has .28 to .77 of the weights.
BYTES_OF_COPY = 0.5 * 4
# The number of feature maps that each stage keeps for the backward pass, counted on the networks
# (docs/findings.md). The unit is a map with the stage's number of channels. A gated convolution
# keeps its output and the inputs of its normalisation and its gate, which are twice as wide. For
# D's stages, the number is the mean of two paths.
MAPS_PER_GATED, MAPS_PER_DOWN, MAPS_PER_DCGAN = 5, 6, 3
MAPS_PER_HEAD = 3  # of D's head, in units of its first convolution's output
# A projected discriminator. For a block of its small discriminators: the number of maps that the
# block keeps, in units of its output. For its frozen network: the number of weights, and the number
# of values kept for the gradient per pixel of the network's input (counted with PyTorch's
# saved-tensor hooks).
MAPS_PER_HALVING = 3
FROZEN_WEIGHTS = {
    "efficientnet_lite0": 2.9e6,
    "efficientnet_lite1": 3.7e6,
    "efficientnet_lite2": 4.3e6,
}
FROZEN_VALUES = {
    "efficientnet_lite0": 280.0,
    "efficientnet_lite1": 362.0,
    "efficientnet_lite2": 380.0,
}
# StyleGAN2: the unit is one map after (G) or before (D) the convolutions of a block.
MAPS_PER_STYLED, MAPS_PER_RESIDUAL_HALF = 8, 6
# Temporary memory for gradients, in units of the largest map.
TEMPORARY_MAPS = 6
# The network of the reconstruction loss: its number of weights, and the number of values per pixel
# of a decoded picture that it keeps for the gradient (counted with PyTorch's saved-tensor hooks).
RECONSTRUCTION_WEIGHTS = {"lpips_vgg": 14.7e6, "efficientnet_lite0": 4.6e6, "l1": 0.0, "l2": 0.0}
RECONSTRUCTION_VALUES = {"lpips_vgg": 610.0, "efficientnet_lite0": 560.0, "l1": 0.0, "l2": 0.0}
# On a CPU, train/perceptual.py computes LPIPS for this many pictures at a time; on a GPU, for the
# whole batch.
LPIPS_PICTURES_ON_CPU = 4
# GPUs with at least this compute capability multiply in bfloat16. Older GPUs (Volta, Turing) train
# in float32.
BF16_CAPABILITY = 8.0


def gpu_gb_of(config: RunConfig, capability: float = BF16_CAPABILITY) -> float:
    """Estimate the memory, in GB, that a training takes on a GPU with this compute `capability`."""
    auto = config.train.precision == "auto" and capability >= BF16_CAPABILITY
    bf16 = config.train.precision == "bf16" or auto
    pictures = config.train.batch_size
    return CUDA_GB + training_gb(config, bf16) + reconstruction_gb(config, bf16, pictures)


def host_gb_of(config: RunConfig) -> float:
    """Estimate the main memory, in GB, of one worker process that trains on the CPU."""
    large = config.model.resolution >= CPU_BF16_FROM_PX
    bf16 = config.train.precision == "bf16" or (config.train.precision == "auto" and large)
    pictures = min(config.train.batch_size, LPIPS_PICTURES_ON_CPU)
    training = training_gb(config, bf16) + reconstruction_gb(config, bf16, pictures)
    return PROCESS_GB + SCRATCH_GB + training / config.resources.workers


def training_gb(config: RunConfig, bf16: bool) -> float:
    """Estimate the memory, in GB, of weights, gradients, Adam's moments and stored feature maps.

    `bf16` is True if the networks compute in bfloat16.
    """
    count = COUNTS[config.model.architecture]
    weights, maps, largest = count(config, config.train.gradient_checkpointing)
    bytes_per_value = 2 if bf16 else 4
    train = config.train
    # G's, D's real and D's generated pictures each account for about a third of the maps.
    extra = train.second_views + sum(
        train.largest(name) > 0 for name in ("zcr_g_weight", "mixdl_g_weight")
    )
    extra += 2 * (config.model.task == "augself") + 2 * config.model.d_mixdl
    maps *= 1 + extra / 3
    map_bytes = config.train.batch_size * (maps + TEMPORARY_MAPS * largest) * bytes_per_value
    per_weight = BYTES_PER_WEIGHT + (config.model.task in INSTANCE_KINDS) * BYTES_OF_COPY
    return (weights * per_weight + map_bytes) / 1e9


def reconstruction_gb(config: RunConfig, bf16: bool, pictures: int) -> float:
    """Estimate the memory, in GB, of the reconstruction loss for all decoders of D.

    LPIPS compares `pictures` pictures at a time. It frees its memory after each decoder, so only
    one decoder counts. EfficientNet-Lite0 keeps its features of all decoders' pictures until the
    backward pass.
    """
    model, kind = config.model, config.train.reconstruction
    if not model.autoencodes:
        return 0.0
    decoders = model.decode_full + model.decode_small + (model.decode_part != "none")
    if kind != "lpips_vgg":
        pictures = config.train.batch_size * decoders
    pixels = pictures * math.prod(small_size(model))
    bytes_per_value = 2 if bf16 and kind == "lpips_vgg" else 4
    values = RECONSTRUCTION_VALUES[kind] * pixels * bytes_per_value
    return (values + 4 * RECONSTRUCTION_WEIGHTS[kind]) / 1e9


def _fastgan(config: RunConfig, gradient_checkpointing: bool) -> tuple[float, float, float]:
    """Return three counts: weights, stored values per picture, values in the largest feature map.

    With `gradient_checkpointing`, up and down blocks store only their inputs, and the inner maps of
    only one block exist at a time.
    """
    model = config.model
    g = generator_channels(model)
    # The side of D's maps is half of the level that sets their channels; at most 256 px (the stem).
    down_stages = [
        (min(level // 2, 256), width)
        for level, width in discriminator_channels(model).items()
        if level > 8 and not model.projects
    ]
    decoder_stages = [
        (side, times * model.decoder_width)
        for side, times in {16: 4, 32: 2, 64: 2, 128: 1}.items()
        if side <= model.resolution and model.autoencodes
    ]
    convolutions = {side: convolution_count(model, side) for side in g}
    ups = [(convolutions[side], width * _pixels(model, side)) for side, width in g.items()]
    ups += 3 * [(1, width * _pixels(model, side)) for side, width in decoder_stages]
    downs = [width * _pixels(model, side) for side, width in down_stages]
    if gradient_checkpointing:
        blocks = [MAPS_PER_GATED * count * size for count, size in ups]
        blocks += [MAPS_PER_DOWN * size for size in downs]
        maps = sum(size for _, size in ups) + 2 * 2 * sum(downs) + max(blocks)
    else:
        maps = MAPS_PER_GATED * sum(count * size for count, size in ups)
        maps += 2 * MAPS_PER_DOWN * sum(downs)
    skips = sum(g[side] * _pixels(model, side) for side in skip_sources(model))
    for side, source in wavelet_sources(model).items():  # the convolution's input, and the sum
        skips += g[source] * _pixels(model, source) + g[side // 2] * _pixels(model, side // 2)
    pictures = config.data.channels * (math.prod(model.size) + math.prod(small_size(model)))
    largest = max(width * _pixels(model, side) for side, width in [*g.items(), *down_stages])
    d_widths = [width for _, width in down_stages]
    weights = _fastgan_weights(model, g, convolutions, d_widths)
    values: float = maps + skips + 2 * pictures + 2 * _judged(model, gradient_checkpointing)
    if not model.projects:
        return weights, values, largest
    d_weights, d_values, d_largest = _projected(model)
    return weights + d_weights, values + d_values, max(largest, d_largest)


def _judged(model: ModelConfig, gradient_checkpointing: bool) -> float:
    """Return the number of values that D stores for the high frequencies of one picture's maps.

    D judges the high frequencies of the maps at the levels in `model.judged_sides`. The high
    frequencies of a map have half its height and width, like the output of the block after the map.
    So they skip this block, and pass through all later blocks and the head, which stores three
    maps.
    """
    channels = discriminator_channels(model)
    per_down = 1 if gradient_checkpointing else MAPS_PER_DOWN
    values = 0.0
    for judged in model.judged_sides:
        sides = [side for side in (8, 16, 32) if side < judged]
        sizes = [channels[2 * side] * _pixels(model, side) for side in sides]
        values += sizes[-1] + per_down * sum(sizes[:-1])
        values += MAPS_PER_HEAD * channels[8] * _pixels(model, 8)
    return values


def _projected(model: ModelConfig) -> tuple[float, float, float]:
    """Return three counts of a projected discriminator: weights, stored values, largest map.

    The counts are as in `_fastgan`, but without the generator. D's step stores the maps of the
    small discriminators twice, for real and for generated pictures. G's step stores these maps
    once, and also the features of the frozen network.
    """
    maps = list(zip(MIXED_WIDTHS, model.projected_maps, strict=True))
    weights: float
    stages = [discriminator_widths(model, width, size) for width, size in maps]
    inputs = [width * math.prod(size) for width, size in maps]
    outputs = sum(
        width * math.prod(side >> step for side in size)
        for widths, (_, size) in zip(stages, maps, strict=True)
        for step, width in enumerate(widths[1:], start=1)
    )
    own = sum(inputs) + MAPS_PER_HALVING * outputs
    weights = sum(16 * a * b for widths in stages for a, b in itertools.pairwise(widths))
    weights += FROZEN_WEIGHTS[model.d_features] * 4 / BYTES_PER_WEIGHT
    frozen = FROZEN_VALUES[model.d_features] * math.prod(model.network_input)
    return weights, max(2 * own, frozen + own), max(inputs)


def _fastgan_weights(
    model: ModelConfig, g: dict[int, int], convolutions: dict[int, int], d_widths: list[int]
) -> float:
    weights: float = _pixels(model, 4) * model.nz * 2 * g[4]
    for side, width in g.items():
        weights += 9 * 2 * width * (g.get(side // 2, 0) + (convolutions[side] - 1) * width)
    for side, source in skip_sources(model).items():
        weights += 16 * g[source] * g[side] + g[side] ** 2
    for side, source in wavelet_sources(model).items():
        weights += g[source] * g[side // 2]
    return weights + sum((2 * 16 + 9 + 1) * a * b for a, b in itertools.pairwise(d_widths))


def _dcgan(config: RunConfig, gradient_checkpointing: bool) -> tuple[float, float, float]:
    model = config.model
    width, sides = model.dcgan_width, [4 << level for level in range(model.dcgan_depth + 1)]
    maps = MAPS_PER_DCGAN * 3 * sum(width * _pixels(model, side) for side in sides)
    weights = 2 * width * (16 * width * model.dcgan_depth + _pixels(model, 4) * model.nz)
    return weights, maps, width * _pixels(model, sides[-1])


def _sngan(config: RunConfig, gradient_checkpointing: bool) -> tuple[float, float, float]:
    """Return three counts: weights, stored values per picture, values in the largest feature map.

    For the backward pass, a block stores these maps:
    - block of G: its input; the output of the first ReLU, before and after upsampling; the inputs
      of the second normalisation and of the second ReLU.
    - block of D: the inputs of the first convolution and of the skip path; the input and the output
      of the second convolution.
    """
    model, channels = config.model, config.data.channels
    g, (halving, keeping) = sngan_g_channels(model), sngan_d_channels(model)
    g_sizes = [width * _pixels(model, 4 << level) for level, width in enumerate(g)]
    ups = [6 * c_in + 2 * c_out for c_in, c_out in itertools.pairwise(g_sizes)]
    d, side, downs = [channels, *halving, *keeping], model.resolution, []
    for index, (c_in, c_out) in enumerate(itertools.pairwise(d)):
        inner = c_in if index else c_out
        downs.append((2 * c_in + inner + c_out) * _pixels(model, side))
        side //= 2 if index < len(halving) else 1
    weights: float = _pixels(model, 4) * model.nz * g[0]
    weights += sum(9 * a * b + 9 * b * b + a * b for a, b in itertools.pairwise(g))
    weights += sum(9 * a * a + 10 * a * b for a, b in itertools.pairwise(d))
    pictures = channels * math.prod(model.size)
    return weights, sum(ups) + 2 * sum(downs) + 2 * g_sizes[-1] + pictures, g_sizes[-1]


def _stylegan2(config: RunConfig, gradient_checkpointing: bool) -> tuple[float, float, float]:
    """Return three counts: weights, stored values per picture, values in the largest feature map.

    For the backward pass, a convolution stores these maps:
    - in G: its input, before and after the multiplication by the style; its result, before and
      after demodulation; the output of its activation. If the convolution doubles the side, also
      the larger map before the filter.
    - in D: its input, before and after the filter; the output of its activation.
    """
    model = config.model
    g, d = (stylegan2_channels(model, base) for base in (model.ngf, model.ndf))
    sizes = [{s: width * _pixels(model, s) for s, width in c.items()} for c in (g, d)]
    ups = [2 * sizes[0].get(s // 2, 0) + MAPS_PER_STYLED * size for s, size in sizes[0].items()]
    downs = [
        MAPS_PER_RESIDUAL_HALF * size + 2 * sizes[1][s // 2]
        for s, size in sizes[1].items()
        if s > 4
    ]
    pairs = {s: (g[s // 2], g[s]) for s in g if s > 4}
    weights: float = 8 * model.nz**2 + 9 * g[4] ** 2
    weights += sum(9 * b * (a + b) + model.nz * (a + 2 * b) for a, b in pairs.values())
    weights += sum(10 * d[s // 2] * d[s] + 9 * d[s] ** 2 for s in d if s > 4)
    weights += (9 + _pixels(model, 4)) * d[4] ** 2
    pictures = config.data.channels * math.prod(model.size)
    largest = max(*sizes[0].values(), *sizes[1].values())
    return weights, sum(ups) + 2 * sum(downs) + 4 * pictures, largest


def _pixels(model: ModelConfig, level: int) -> int:
    """Return the number of pixels of a map at `level`; it is `level`^2 for a square picture."""
    return math.prod(model.map_size(level))


COUNTS: dict[str, Callable[[RunConfig, bool], tuple[float, float, float]]] = {
    "fastgan": _fastgan,
    "dcgan": _dcgan,
    "sngan": _sngan,
    "stylegan2": _stylegan2,
}
