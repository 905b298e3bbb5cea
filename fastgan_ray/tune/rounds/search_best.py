"""Keep the search's own best generator while best/ has one of the confirmation.

A search that continues after its confirmation may find a better trial. Then best/ has this trial's
generator, and the copy of the earlier one is of no use any more.
"""

from __future__ import annotations

import json
from pathlib import Path

from fastgan_ray.files import linked_copy, put_in_place
from fastgan_ray.tune.rounds.folder import FOLDER

NOTHING = "nothing"  # the source of a folder that does not exist
COPY = "search-best"  # in the confirmation's folder: a copy of best/ from before the confirmation


def save_search_best(folder: Path) -> None:
    """Copy best/ of the search's `folder` to the confirmation's folder, if it is of the search."""
    if _is_of_search(folder):
        linked_copy(folder / "best", folder / FOLDER / COPY)


def restore_search_best(folder: Path, source: str) -> None:
    """Put the copy that `save_search_best` made into best/, if best/ is of the confirmation.

    `source` is the folder of the search's best trial, relative to `folder`. A copy of another
    trial's generator stays where it is.
    """
    copy = folder / FOLDER / COPY
    if _source_of(copy) == source and not _is_of_search(folder):
        put_in_place(copy, folder / "best")


def _is_of_search(folder: Path) -> bool:
    return not _source_of(folder / "best").startswith((f"{FOLDER}/", NOTHING))


def _source_of(best: Path) -> str:
    """Return the folder of the training whose generator is in the folder `best`."""
    file = best / ".source"
    return str(json.loads(file.read_text())[0]) if file.is_file() else NOTHING
