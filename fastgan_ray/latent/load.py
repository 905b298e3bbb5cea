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
    """Load a generator (eval mode, frozen, CPU) and the configuration of its run.

    `which` chooses the best or the last checkpoint of a run's folder.
    Exported folders and published files have no run. Their configuration has only the generator's
    settings (section `model`, and `data.mode`); all other settings are defaults.
    """
    if path.is_file():
        if path.suffix in (".safetensors", ".json", ".yaml"):
            raise UserError(f"{path}: is one file of a checkpoint; name its folder, {path.parent}")
        published = load_published(path)
        network = published.ema or published.generator
        return network.requires_grad_(False).eval(), RunConfig(model=network.config)
    if layout := layout_of(path):
        return read_folder(path, layout)
    return checkpoint.load_generator(find_checkpoint(path, which))


def d_features_of(path: Path, which: Which = "best") -> tuple[str, ...]:
    """Return the feature networks of all discriminators against which a generator was trained.

    The result is empty if none of them was a projected discriminator. `path` and `which` are those
    of `load_model`.
    """
    if path.is_file():
        return ()
    if layout := layout_of(path):
        return read_d_features(path, layout)
    return checkpoint.all_d_features(find_checkpoint(path, which))


def data_config(name: str, stored: RunConfig, overrides: Mapping[str, Any]) -> RunConfig:
    """Return the run configuration of a generator, with `overrides` (dotted keys) applied.

    `stored` is the configuration of the generator's run. Raise UserError if `stored` has no data
    set, or if an override would change the generator. `name` is the checkpoint's name in messages.
    """
    fixed = [key for key in overrides if key.startswith("model.") or key == "data.mode"]
    if fixed:
        raise UserError(f"--set: {', '.join(fixed)}: a trained model cannot be changed")
    config = override(stored, overrides)
    if config.data.path is None:
        raise UserError(
            f"{name}: the checkpoint does not say on which pictures it was trained; give "
            "them with --data"
        )
    return config
