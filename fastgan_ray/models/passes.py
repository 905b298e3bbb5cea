"""Count the floating-point operations of forward passes, and the networks' parameters.

PyTorch counts the operations on the device "meta", where nothing is computed. The networks are
built without spectral normalisation, because its power iterations would take most of the time here.
This does not change the counts: spectral normalisation has no parameters, and PyTorch does not
count its matrix-vector products. `reference_kernels` makes the counts equal for all devices.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from fastgan_ray.config.model import ModelConfig
from fastgan_ray.models import build_discriminator, build_generator, small_size
from fastgan_ray.models.base import AnyDiscriminator
from fastgan_ray.models.kernels import reference_kernels
from fastgan_ray.models.projected import ProjectedDiscriminator

META = torch.device("meta")


class Passes(NamedTuple):
    """The GFLOP (10**9 operations) of forward passes for one picture, and the sizes of G and D."""

    generate: float
    """G draws a picture."""
    discriminate: float
    """D judges a picture."""
    decode: float
    """D judges a picture and reconstructs it."""
    task: float
    """D processes a picture only for its extra task (`model.self_supervision`)."""
    trunk: float
    """D computes the features of a picture."""
    project: float
    """D computes the embedding of a picture for MixDL; 0 without `d_mixdl`."""
    frozen: float
    """The part of D that is not trained processes a picture."""
    reconstructed: float
    """The number of pixels of all reconstructions of a picture, divided by 128 x 128."""
    params_g: int
    params_d: int
    stored_g: int
    """How many numbers a checkpoint stores for G: parameters, and statistics of batch norm."""
    stored_d: int


def count_passes(model: ModelConfig, channels: int) -> Passes:
    """Return the GFLOP of passes, and the sizes of G and D, for the networks of `model`.

    `channels` is the number of channels of a picture.
    """
    settings = model.model_dump_json()
    return Passes(**_of_generator(settings, channels), **_of_discriminator(settings, channels))


def generator_gflop(model: ModelConfig, channels: int) -> float:
    """Return the GFLOP that G needs to generate one picture with `channels` channels."""
    return float(_of_generator(model.model_dump_json(), channels)["generate"])


# Most arms of an ablation have the same networks, so the counts are remembered by their settings.
@functools.lru_cache(maxsize=64)
def _of_generator(settings: str, channels: int) -> dict[str, Any]:
    model = _plain(settings)
    generator = build_generator(model, picture_channels=channels).eval().to(META)
    with torch.no_grad():
        return {
            "generate": _gflop(lambda: generator(torch.empty(1, model.nz, device=META))),
            "params_g": _parameters(generator),
            "stored_g": _stored(generator),
        }


@functools.lru_cache(maxsize=64)
def _of_discriminator(settings: str, channels: int) -> dict[str, Any]:
    model = _plain(settings)
    discriminator = build_discriminator(model, picture_channels=channels).eval().to(META)
    full_BCHW = torch.empty(1, channels, *model.size, device=META)
    small_BCHW = torch.empty(1, channels, *small_size(model), device=META)
    with torch.no_grad():
        trunk = _gflop(lambda: discriminator.trunk(full_BCHW))
        _, reconstructions = discriminator(full_BCHW, small_BCHW, part=0)
        return {
            "discriminate": _gflop(lambda: discriminator(full_BCHW, small_BCHW)),
            "decode": _gflop(lambda: discriminator(full_BCHW, small_BCHW, part=0)),
            "task": _task_gflop(discriminator, model.task, full_BCHW, trunk),
            "trunk": trunk,
            "project": _gflop(lambda: discriminator.project(full_BCHW)) if model.d_mixdl else 0.0,
            "frozen": _frozen_gflop(discriminator, full_BCHW),
            "reconstructed": sum(
                math.prod(picture.shape[-2:]) / 128**2 for picture in reconstructions.values()
            ),
            "params_d": _parameters(discriminator),
            "stored_d": _stored(discriminator),
        }


def _plain(settings: str) -> ModelConfig:
    """Parse the JSON text of the section `model`, and switch off spectral normalisation."""
    return ModelConfig.model_validate_json(settings).model_copy(update={"spectral_norm": False})


def _task_gflop(
    discriminator: AnyDiscriminator, task: str, full_BCHW: Tensor, trunk: float
) -> float:
    if task == "contrastive":
        return _gflop(lambda: discriminator.embed(full_BCHW))
    return trunk if task == "augself" else 0.0


def _frozen_gflop(discriminator: AnyDiscriminator, full_BCHW: Tensor) -> float:
    if not isinstance(discriminator, ProjectedDiscriminator):
        return 0.0
    return _gflop(lambda: discriminator.mixed_features(full_BCHW))


def _gflop(run: Callable[[], object]) -> float:
    with reference_kernels(), FlopCounterMode(display=False) as counter:
        run()
    return float(counter.get_total_flops()) / 1e9


def _parameters(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


def _stored(network: nn.Module) -> int:
    return sum(tensor.numel() for tensor in network.state_dict().values())
