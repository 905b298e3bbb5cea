"""What a run's folder holds that neither its results nor a resume needs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from fastgan_ray.errors import UserError
from fastgan_ray.files import DRAFTS
from fastgan_ray.tune.ray.compat import STATE_FILES
from fastgan_ray.tune.storage.lock import only_driver
from fastgan_ray.tune.storage.snapshot import over_in_snapshot, snapshots
from fastgan_ray.tune.trial.folder import checkpoints

KEPT_OF_AN_ABLATION = ("ema.safetensors", "metadata.json")  # the weights to sample from


def clean(folder: Path, dry_run: bool = False) -> list[tuple[Path, int]]:
    """Remove what is superfluous in a search's or an ablation's folder; its paths and bytes.

    `dry_run`: only say what would go. UserError if `folder` is no run's, or is running.
    """
    folder = folder.resolve()
    kinds = [kind for kind in ("search", "ablation") if (folder / f"{kind}.yaml").is_file()]
    if not kinds:
        raise UserError(
            f"{folder}: neither a search nor an ablation (there is no search.yaml or ablation.yaml "
            "in it); name a folder under runs/"
        )
    with only_driver(folder):
        found = [(path, freed(path)) for path in superfluous(folder, kinds[0] == "ablation")]
        if not dry_run:
            for path, _ in found:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    return found


def superfluous(folder: Path, ablation: bool) -> Iterator[Path]:
    """Half written files; checkpoints of trials that have ended, but for an ablation's weights to
    sample from; and what a snapshot of the search's state has replaced."""
    for place in (".", "state", "trials/*"):
        yield from folder.glob(f"{place}/{DRAFTS}")
    ended = over_in_snapshot(folder)
    for trial in sorted(folder.glob("trials/[0-9]*")):
        if trial.name not in ended:
            continue
        for checkpoint in checkpoints(trial):
            if not ablation or not checkpoint.name.startswith("checkpoint-"):
                yield checkpoint
                continue
            yield from (
                path
                for path in sorted(checkpoint.iterdir())
                if path.name not in KEPT_OF_AN_ABLATION
            )
    if snapshots(folder / "state"):
        yield from (path for name in STATE_FILES for path in sorted(folder.glob(f"trials/{name}")))


def freed(path: Path) -> int:
    """The bytes that removing a file or folder frees: none of a file that has a second name."""
    files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
    return sum(one.stat().st_size for one in files if one.stat().st_nlink == 1)
