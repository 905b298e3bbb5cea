"""Check that a training has the settings and the pictures of the checkpoint it resumes from."""

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
    """Return whether the setting `name` (dotted) may differ from its value in the checkpoint."""
    return name != MUST_STAY and (
        name in MAY_CHANGE
        or any(section.endswith(".") and name.startswith(section) for section in MAY_CHANGE)
    )


def require_same_training(stored: RunConfig, config: RunConfig, folder: Path) -> None:
    """Raise UserError if a setting that affects the steps has changed; name all such settings."""
    before, now = (flatten(part.model_dump()) for part in (stored, config))
    changed = [
        f"{name} is {as_text(before.get(name))!r} in the checkpoint and {as_text(value)!r} now"
        for name, value in now.items()
        if before.get(name) != value and not may_change(name)
    ]
    if changed:
        raise UserError(
            f"{folder}: the checkpoint was made with other settings: {'; '.join(changed)}. "
            "Resume with the configuration it was trained with, or start a new run."
        )


def require_same_pictures(metadata: dict[str, Any], digest: str, folder: Path) -> None:
    """Raise UserError unless the checkpoint's pictures have the hash `digest`."""
    stored = metadata.get("pictures", digest)
    if stored != digest:
        raise UserError(
            f"{folder}: the checkpoint was made with other pictures (their digest is {stored}; "
            f"the pictures of this run have {digest}). Resume with the data it was trained with, "
            "or start a new run."
        )
