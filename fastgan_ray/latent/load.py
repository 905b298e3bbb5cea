"""A generator from wherever it was left: a checkpoint, a search's folder, an export, a .pth."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from fastgan_ray.config.run_config import ModelConfig, RunConfig
from fastgan_ray.errors import UserError
from fastgan_ray.latent.exported import DESCRIPTION, read_folder
from fastgan_ray.models.published_checkpoint import load_published
from fastgan_ray.train import checkpoint


def find_checkpoint(path: Path) -> Path:
    """The checkpoint folder meant by `path`: itself, a search's best, or a run's latest."""
    if not path.exists():
        raise UserError(
            f"{path}: no such file or folder; a checkpoint folder, a folder under runs/, or a "
            "published .pth file is expected"
        )
    latest = sorted(path.glob("checkpoint-*"))
    candidates = [path, path / "checkpoint", path / "best" / "checkpoint", *latest[-1:]]
    for candidate in candidates:
        if (candidate / "metadata.json").is_file():
            return candidate
    if trial := next(iter(sorted(path.glob("trials/*/checkpoint-*"))), None):
        raise UserError(
            f"{path}: no best checkpoint in it; name one of its trials, as {trial.parent}"
        )
    raise UserError(
        f"{path}: no checkpoint in it; a folder with metadata.json, best/checkpoint or "
        "checkpoint-* is expected"
    )


def load_model(path: Path) -> tuple[nn.Module, ModelConfig, RunConfig | None]:
    """A generator in eval mode and its model section; the whole configuration if it is stored."""
    if path.is_file():
        published = load_published(path)
        own = published.ema or published.generator
        return own.requires_grad_(False).eval(), own.config, None
    if (path / DESCRIPTION).is_file():
        return *read_folder(path), None
    generator, config = checkpoint.load_generator(find_checkpoint(path))
    return generator, config.model, config
