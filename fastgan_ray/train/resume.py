"""What a training that is resumed must share with the one that made the checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastgan_ray.config.run_config import RunConfig, flatten
from fastgan_ray.errors import UserError

# The fields, and the sections ("eval."), that no training step depends on: all others must stay.
# Where the pictures lie may change, as they are compared themselves; CUDA graphs and gradient
# checkpointing leave the mathematics of a step as it is.
MAY_CHANGE = (
    "data.path",
    "data.on_bad_image",
    "train.total_kimg",
    "train.device",
    "train.cuda_graphs",
    "train.cuda_graphs",
    "train.gradient_checkpointing",
    "eval.",
    "resources.",
)


def may_change(name: str) -> bool:
    """Say whether the field `name` (dotted) may differ from the checkpoint's."""
    return any(name.startswith(kept) if kept.endswith(".") else name == kept for kept in MAY_CHANGE)


def require_same_training(stored: RunConfig, config: RunConfig, folder: Path) -> None:
    """Raise UserError that names every field on which the next steps depend and that differs."""
    before, now = (flatten(settings.model_dump()) for settings in (stored, config))
    changed = [
        f"{name} is {before.get(name)!r} in the checkpoint and {value!r} now"
        for name, value in now.items()
        if before.get(name) != value and not may_change(name)
    ]
    if changed:
        raise UserError(
            f"{folder}: the checkpoint was made with other settings: {'; '.join(changed)}. "
            "Resume with the configuration it was trained with, or start a new run."
        )


def require_same_pictures(metadata: dict[str, Any], digest: str, folder: Path) -> None:
    """Raise UserError unless the checkpoint was made with the pictures that `digest` stands for."""
    stored = metadata.get("pictures", digest)
    if stored != digest:
        raise UserError(
            f"{folder}: the checkpoint was made with other pictures (digest {stored}, now "
            f"{digest}). Resume with the data it was trained with, or start a new run."
        )
