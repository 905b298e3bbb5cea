"""Generators from checkpoints, runs' folders, exported folders and published .pth files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from fastgan_ray.config.override import override
from fastgan_ray.config.run_config import ModelConfig, RunConfig
from fastgan_ray.errors import UserError
from fastgan_ray.latent.folder_format import DESCRIPTION, read_folder
from fastgan_ray.models.published_checkpoint import load_published
from fastgan_ray.train import checkpoint


def find_checkpoint(path: Path) -> Path:
    """Find a checkpoint folder: `path` itself, its best checkpoint or its latest checkpoint.

    Raise UserError if there is none.
    """
    if not path.exists():
        raise UserError(
            f"{path}: no such file or folder; name a checkpoint folder, a folder under runs/ or a "
            "published .pth file"
        )
    latest = sorted(path.glob("checkpoint-*"))[-1:]
    for folder in [path, path / "checkpoint", path / "best" / "checkpoint", *latest]:
        if (folder / "metadata.json").is_file():
            return folder
    if trial := next(iter(sorted(path.glob("trials/*/checkpoint-*"))), None):
        raise UserError(f"{path}: has no best checkpoint; name a trial, e.g. {trial.parent}")
    raise UserError(
        f"{path}: no checkpoint found; the folder must have metadata.json, best/checkpoint or "
        "checkpoint-*"
    )


def load_model(path: Path) -> tuple[nn.Module, ModelConfig, RunConfig | None]:
    """Load a generator (eval mode, frozen, CPU), its model configuration and its run configuration.

    The run configuration is None for exported folders and published files, which have none.
    """
    if path.is_file():
        published = load_published(path)
        network = published.ema or published.generator
        return network.requires_grad_(False).eval(), network.config, None
    if (path / DESCRIPTION).is_file():
        return *read_folder(path), None
    generator, config = checkpoint.load_generator(find_checkpoint(path))
    return generator, config.model, config


def data_config(
    name: str, model: ModelConfig, stored: RunConfig | None, overrides: Mapping[str, Any]
) -> RunConfig:
    """Return the run configuration of a generator, with `overrides` (dotted keys) applied.

    `stored` is the configuration of the generator's run, if known; without it, only `model` and the
    overrides differ from the defaults. Raise UserError if no data set is set; the message calls the
    checkpoint `name`.
    """
    config = override(stored or RunConfig(model=model), overrides)
    if config.data.path is None:
        raise UserError(f"{name}: the checkpoint names no data set; give --data")
    return config
