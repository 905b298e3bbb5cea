"""Keep the best checkpoints of a run: `checkpoint-best`, `checkpoint-best-2` and so on.

Few-shot GANs often collapse late in a training, so the last checkpoint may be far from the best
one. The checkpoints are ranked by a metric. Its name and value are in each checkpoint's
metadata.json, as "selection": {"metric": name, "value": number}.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fastgan_ray.files import atomic, link_tree, linked_copy, write_atomically
from fastgan_ray.metrics.names import Goal

BEST = "checkpoint-best"
LAST = "checkpoint-last"  # in a search: the last checkpoint of the best training
NUMBERED = "checkpoint-[0-9]*"  # the checkpoints of evaluations; the newest one is the last


class _Ranked(NamedTuple):
    key: tuple[float, float]  # value (smaller is better), then kimg (smaller is better)
    folder: Path


def best_checkpoints(folder: Path) -> list[Path]:
    """Return the paths of the best checkpoints in a run's folder, from best to worst."""
    first, others = folder / BEST, folder.glob(f"{BEST}-*")
    found = [first, *sorted(others, key=lambda path: int(path.name.rpartition("-")[2]))]
    return [path for path in found if (path / "metadata.json").is_file()]


def keep_best(checkpoint: Path, count: int, goal: Goal) -> None:
    """Add a new checkpoint to the best checkpoints of its run if it is one of the `count` best.

    `checkpoint` is in the run's folder. `goal` says whether a small or a large value of the metric
    is good. A best checkpoint is a copy with hard links to the files, so the copy needs disk space
    only after the original checkpoint is removed. In every call, best checkpoints that were
    measured with another metric or protocol than `checkpoint` are removed.
    """
    folder, metadata = checkpoint.parent, _metadata(checkpoint)
    sign = 1 if goal == "minimize" else -1
    candidates = {}
    for path in (*best_checkpoints(folder), checkpoint):
        other = _metadata(path)
        if _comparable(other, metadata):  # a newer checkpoint replaces one at the same kimg
            key = (sign * other["selection"]["value"], other["kimg"])
            candidates[other["kimg"]] = _Ranked(key, path)
    ranked = [entry.folder for entry in sorted(candidates.values())[:count]]
    with contextlib.ExitStack() as copies:  # read all folders before replacing any
        for rank, source in enumerate(ranked, 1):
            if source != _folder(folder, rank):
                link_tree(source, copies.enter_context(atomic(_folder(folder, rank))))
    _remove(path for path in best_checkpoints(folder)[len(ranked) :])


def continue_from(source: Path, folder: Path, kimg: float) -> None:
    """Prepare the best checkpoints in a run's folder for a run that continues at `kimg`.

    `source` is the folder of the run that is continued. If `source` is not `folder`, the best
    checkpoints of `source` are copied to `folder` first. Then the best checkpoints in `folder` that
    were made after `kimg` (thousands of images) are removed, because the run makes them again.
    """
    if source.resolve() != folder.resolve():
        for path in best_checkpoints(source):
            linked_copy(path, folder / path.name)
    _remove(path for path in best_checkpoints(folder) if _metadata(path)["kimg"] > kimg)


def add_metadata(checkpoint: Path, entries: Mapping[str, Any]) -> None:
    """Add `entries` to a checkpoint's metadata.json; an entry replaces one of the same name.

    A new file replaces metadata.json, so other hard links to the old file keep the old content.
    """
    text = json.dumps({**_metadata(checkpoint), **entries}, indent=1)
    write_atomically(checkpoint / "metadata.json", text)


def _comparable(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    metrics = [metadata.get("selection", {}).get("metric") for metadata in (a, b)]
    return metrics[0] == metrics[1] is not None and a.get("protocol") == b.get("protocol")


def _folder(folder: Path, rank: int) -> Path:
    return folder / (BEST if rank == 1 else f"{BEST}-{rank}")


def _remove(folders: Iterable[Path]) -> None:
    for folder in list(folders):
        shutil.rmtree(folder, ignore_errors=True)


def _metadata(checkpoint: Path) -> dict[str, Any]:
    return dict(json.loads((checkpoint / "metadata.json").read_text()))
