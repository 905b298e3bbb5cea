"""Keep the search's own best generator while best/ has one of the confirmation.

A search that continues after its confirmation may find a better trial. Then best/ has this trial's
generator, and the copy of the earlier one is of no use any more.
"""

from __future__ import annotations

import json
from pathlib import Path

from fastgan_ray.files import linked_copy, put_in_place
from fastgan_ray.tune.rounds.folder import FOLDER

COPY = "search-best"  # in the confirmation's folder: a copy of best/ from before the confirmation


def save_search_best(folder: Path) -> None:
    """Copy best/ of the search's `folder` to the confirmation's folder, if it is of the search."""
    if _is_of_search(folder):
        linked_copy(folder / "best", folder / FOLDER / COPY)


def restore_search_best(folder: Path) -> None:
    """Put the copy that `save_search_best` made into best/, if best/ is of the confirmation."""
    copy = folder / FOLDER / COPY
    if copy.is_dir() and not _is_of_search(folder):
        put_in_place(copy, folder / "best")


def _is_of_search(folder: Path) -> bool:
    source, _ = json.loads((folder / "best" / ".source").read_text())
    return not source.startswith(f"{FOLDER}/")
