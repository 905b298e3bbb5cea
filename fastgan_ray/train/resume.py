"""Check that a resumed training has the settings and pictures of its checkpoint (MAY_CHANGE)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastgan_ray.config.run_config import RunConfig, flatten
from fastgan_ray.config.schedule import as_text
from fastgan_ray.errors import UserError

# These settings and sections (such as "eval.") may change, because they do not affect the training
# steps. The paths of pictures and boxes may change, because the pictures are compared by content.
# CUDA graphs and gradient checkpointing do not change the mathematics of a step. MUST_STAY must not
# change, because it decides which pictures are used for training.
MAY_CHANGE = (
    "data.path",
    "data.boxes",
    "data.on_bad_image",
    "train.total_kimg",
    "train.keep_best",
    "train.log_every_kimg",
    "train.device",
    "train.cuda_graphs",
    "train.gradient_checkpointing",
    "eval.",
    "resources.",
)
MUST_STAY = "eval.held_out"


def may_change(name: str) -> bool:
    """Return whether a setting may have another value in a resumed training.

    `name` is the dotted name of the setting, such as "train.device".
    """
    return name != MUST_STAY and (
        name in MAY_CHANGE
        or any(section.endswith(".") and name.startswith(section) for section in MAY_CHANGE)
    )


def require_same_training(stored: RunConfig, config: RunConfig, folder: Path) -> None:
    """Raise UserError if a setting that affects the training steps has changed.

    `stored` is the configuration in the checkpoint `folder`, and `config` the configuration of the
    resumed training. The message names all changed settings.
    """
    before, now = (flatten(part.model_dump()) for part in (stored, config))
    changed = [
        f"{name} is {as_text(before.get(name))!r} in the checkpoint and {as_text(value)!r} now"
        for name, value in now.items()
        if before.get(name) != value and not may_change(name)
    ]
    if changed:
        raise UserError(
            f"{folder}: the checkpoint was made with other settings: {'; '.join(changed)}. "
            "Resume with the settings of the checkpoint, or start a new run."
        )


def require_same_pictures(metadata: dict[str, Any], digest: str, folder: Path) -> None:
    """Raise UserError unless the checkpoint `folder` was trained with the same pictures.

    `metadata` is the checkpoint's metadata. `digest` is the hash of the pictures of the resumed
    training.
    """
    stored = metadata.get("pictures", digest)
    if stored != digest:
        raise UserError(
            f"{folder}: the checkpoint was made with other pictures: their hash is {stored}, but "
            f"the hash of the pictures of this run is {digest}. Resume with the pictures of the "
            "checkpoint, or start a new run."
        )
