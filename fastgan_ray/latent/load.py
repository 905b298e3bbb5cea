"""Generators from checkpoints, runs' folders, exported folders and published .pth files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from torch import nn

from fastgan_ray.config.override import override
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.errors import UserError
from fastgan_ray.latent.folder_format import layout_of, read_folder
from fastgan_ray.models.published_checkpoint import load_published
from fastgan_ray.train import checkpoint
from fastgan_ray.train.best import BEST, LAST, NUMBERED

Which = Literal["best", "last"]


def find_checkpoint(path: Path, which: Which = "best") -> Path:
    """Find a checkpoint folder: `path` itself, or its best or last checkpoint.

    `path` may be the folder of a search, a training or a trial. A run that keeps no best checkpoint
    has only the last one. Raise UserError if there is none.
    """
    if not path.exists():
        raise UserError(
            f"{path}: no such file or folder; name a checkpoint folder, a folder under runs/ or a "
            "published .pth file"
        )
    last, result = sorted(path.glob(NUMBERED))[-1:], path / "best"
    folders = [path / BEST, path / "checkpoint", result / "checkpoint", *last]
    if which == "last":
        folders = [path / LAST, result / LAST, *last, *folders]
    for folder in [path, *folders]:
        if (folder / "metadata.json").is_file():
            return folder
    if trial := next(iter(sorted(path.glob("trials/*/checkpoint-*"))), None):
        raise UserError(f"{path}: has no best checkpoint; name a trial, e.g. {trial.parent}")
    raise UserError(
        f"{path}: no checkpoint found; the folder must have metadata.json, best/checkpoint or "
        "checkpoint-*"
    )


def locate(path: Path, which: Which = "best") -> Path:
    """Return a published file, an exported folder, or the checkpoint that `find_checkpoint` finds.

    A path that is a checkpoint itself stays the same.
    """
    return path if path.is_file() or layout_of(path) else find_checkpoint(path, which)


def load_model(path: Path, which: Which = "best") -> tuple[nn.Module, RunConfig]:
    """Load a generator (eval mode, frozen, CPU) and the configuration of its run.

    `which` chooses the best or the last checkpoint of a run's folder.
    Exported folders and published files have no run. Their configuration has only the generator's
    settings (section `model`, and `data.mode`); all others are defaults.
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


def data_config(name: str, stored: RunConfig, overrides: Mapping[str, Any]) -> RunConfig:
    """Return the run configuration of a generator, with `overrides` (dotted keys) applied.

    `stored` is the configuration of the generator's run. Raise UserError if no data set is set, or
    if an override would need another generator; the message calls the checkpoint `name`.
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
