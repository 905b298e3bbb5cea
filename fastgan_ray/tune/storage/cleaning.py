"""Remove the files of a run that are not results and that a resume does not need."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from fastgan_ray.errors import UserError
from fastgan_ray.files import DRAFTS
from fastgan_ray.tune.ray.compat import STATE_FILES
from fastgan_ray.tune.storage.lock import only_driver
from fastgan_ray.tune.storage.snapshot import ended_in_snapshot, snapshots
from fastgan_ray.tune.trial.folder import checkpoints

ABLATION_KEEPS = ("ema.safetensors", "metadata.json")  # these files are enough to generate samples


def clean(folder: Path, dry_run: bool = False) -> list[tuple[Path, int]]:
    """Remove unneeded files of a search or an ablation; return the removed paths and their sizes.

    The size of a path is the number of bytes that its removal frees. If `dry_run` is true, nothing
    is removed. Raises UserError if `folder` is not the folder of a search or an ablation, or if the
    search or ablation is running.
    """
    folder = folder.resolve()
    kinds = [kind for kind in ("search", "ablation") if (folder / f"{kind}.yaml").is_file()]
    if not kinds:
        raise UserError(
            f"{folder}: is not the folder of a search or an ablation (it has no search.yaml or "
            f"ablation.yaml). Choose the folder of a run, such as runs/demo"
        )
    search = folder.parent  # of a confirmation, which its search's process trains
    is_inner = (search / "search.yaml").is_file()
    with only_driver(search) if is_inner else contextlib.nullcontext(), only_driver(folder):
        removed = [(path, freed_bytes(path)) for path in unneeded(folder, kinds[0] == "ablation")]
        if not dry_run:
            for path, _ in removed:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    return removed


def unneeded(folder: Path, is_ablation: bool) -> Iterator[Path]:
    """Yield the paths that `clean` removes.

    They are incomplete files, checkpoints of trials that have ended, and Ray's state files. In an
    ablation, the weights that generate samples are not yielded. In a search, best/ must have the
    best generator first (see `_ended`). Ray's state files are yielded only if there is a snapshot
    of them.
    """
    for place in (".", "state", "trials/*"):
        yield from folder.glob(f"{place}/{DRAFTS}")
    ended = ended_in_snapshot(folder) if is_ablation else _ended(folder)
    for trial in sorted(folder.glob("trials/[0-9]*")):
        for checkpoint in checkpoints(trial) if trial.name in ended else []:
            if is_ablation and checkpoint.name.startswith("checkpoint-"):
                files = sorted(checkpoint.iterdir())
                yield from (path for path in files if path.name not in ABLATION_KEEPS)
            else:
                yield checkpoint
    if snapshots(folder / "state"):
        yield from (path for name in STATE_FILES for path in sorted(folder.glob(f"trials/{name}")))


def _ended(folder: Path) -> set[str]:
    """Return the ids of a search's ended trials whose checkpoints best/ cannot need any more.

    The summary, which is written together with best/, must have their end. As long as no trial has
    finished, an unfinished one may be in best/, and any ended one may have to replace it.
    """
    path = folder / "summary.json"
    trials = json.loads(path.read_text())["trials"] if path.is_file() else []
    states = {trial["trial_id"]: trial["state"] for trial in trials}
    if "finished" not in states.values():
        return set()
    ended = {name for name, state in states.items() if state != "unfinished"}
    return ended & ended_in_snapshot(folder)


def freed_bytes(path: Path) -> int:
    """Return how many bytes the removal of a file or folder frees.

    A file that has another hard link frees nothing.
    """
    files = [path] if path.is_file() else [child for child in path.rglob("*") if child.is_file()]
    return sum(file.stat().st_size for file in files if file.stat().st_nlink == 1)
