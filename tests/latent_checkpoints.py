"""Small checkpoints without training: random weights with usable batch statistics."""

import json
from pathlib import Path

import tiny
import torch
from safetensors.torch import save_file

from fastgan_ray.config.model import ModelConfig
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.models import build_discriminator, build_generator
from fastgan_ray.models.published_checkpoint import save_published
from fastgan_ray.train.checkpoint import FORMAT


def model(**section) -> ModelConfig:
    """The smallest FastGAN, changed by `section`."""
    smallest = RunConfig.model_validate(tiny.SETTINGS).model
    return ModelConfig.model_validate({**smallest.model_dump(), **section})


def tiny_checkpoint(folder: Path, data: Path | None = None, **section) -> Path:
    """Write a checkpoint of a run on the data set `data`; its folder."""
    settings = {**tiny.SETTINGS, "data.path": str(data) if data else None}
    config = RunConfig.model_validate(
        settings | {f"model.{name}": value for name, value in section.items()}
    )
    save_file(alive(build_generator(config.model)).state_dict(), folder / "ema.safetensors")
    discriminator = build_discriminator(config.model)
    save_file(discriminator.state_dict(), folder / "discriminator.safetensors")
    (folder / "metadata.json").write_text(
        json.dumps({"format": FORMAT, "config": config.model_dump()})
    )
    return folder


def published(path: Path) -> Path:
    """Write a checkpoint in the published format, for 256 px; its path."""
    config = ModelConfig(resolution=256, ngf=4, ndf=4, nz=8, output_activation="none")
    save_published(path, alive(build_generator(config)), build_discriminator(config))
    return path


def alive(generator: torch.nn.Module) -> torch.nn.Module:
    """Give a new generator statistics and noise as if trained, because new ones draw grey."""
    for name, weight in generator.named_parameters():
        if name.endswith("noise.weight"):
            weight.data.fill_(0.05)
    for norm in generator.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.momentum = 1.0  # the last batch's statistics
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        generator.train()(torch.randn(8, generator.config.nz, generator=rng))
    return generator.eval()
