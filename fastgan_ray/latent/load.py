"""Load generators from checkpoints, runs' folders, exported folders and published .pth files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from fastgan_ray.config.override import override
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.errors import UserError
from fastgan_ray.models.exported_folder import layout_of, read_d_features, read_folder
from fastgan_ray.models.published_checkpoint import load_published
from fastgan_ray.train import checkpoint
from fastgan_ray.train.find_checkpoint import Which, find_checkpoint


def load_model(path: Path, which: Which = "best") -> tuple[nn.Module, RunConfig]:
    """Return a generator (eval mode, frozen, CPU) and the configuration of its training.

    `path` is a checkpoint, the folder of a run, an exported folder or a published .pth file. For
    the folder of a run, `which` chooses the best or the last checkpoint. Exported folders and .pth
    files store only the settings of the section `model` and `data.mode`; all other settings are
    then defaults. Raise UserError if there is no generator at `path`.
    """
    if path.is_file():
        if path.suffix in (".safetensors", ".json", ".yaml"):
            raise UserError(f"{path}: is one file of a checkpoint; give the folder {path.parent}")
        published = load_published(path)
        network = published.ema or published.generator
        return network.requires_grad_(False).eval(), RunConfig(model=network.config)
    if layout := layout_of(path):
        return read_folder(path, layout)
    return checkpoint.load_generator(find_checkpoint(path, which))


def d_features_of(path: Path, which: Which = "best") -> tuple[str, ...]:
    """Return the names of the feature networks against which a generator was trained.

    Only projected discriminators have a feature network, so the result may be empty. `path` and
    `which` have the same meaning as in `load_model`.
    """
    if path.is_file():
        return ()
    if layout := layout_of(path):
        return read_d_features(path, layout)
    return checkpoint.all_d_features(find_checkpoint(path, which))


def data_config(name: str, stored: RunConfig, overrides: Mapping[str, Any]) -> RunConfig:
    """Return the configuration `stored` of a generator's training, changed by `overrides`.

    `overrides` maps dotted keys to values. `name` is the checkpoint's name in messages. Raise
    UserError if the result has no data set, or if `overrides` changes a setting of the section
    `model` or `data.mode`.
    """
    fixed = [key for key in overrides if key.startswith("model.") or key == "data.mode"]
    if fixed:
        raise UserError(f"--set: {', '.join(fixed)}: cannot be changed after the training")
    config = override(stored, overrides)
    if config.data.path is None:
        raise UserError(
            f"{name}: the checkpoint has no path of its training pictures; give the path with "
            "--data"
        )
    return config
