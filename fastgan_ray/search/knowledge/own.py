"""Keep the user's own searches in the cache, so that later searches learn from them (`learn`).

Each search becomes a library with one data set, in a file of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fastgan_ray.config.paths import cache_dir
from fastgan_ray.counting import counted
from fastgan_ray.data.described import Described
from fastgan_ray.errors import UserError
from fastgan_ray.files import write_atomically
from fastgan_ray.search.curves.features import encoded_parameters
from fastgan_ray.search.curves.ranking import is_ranked
from fastgan_ray.search.expected import trial_of
from fastgan_ray.search.file.spec import SearchSpec
from fastgan_ray.search.knowledge.learn import learn
from fastgan_ray.search.knowledge.library import DataSet, Library, library_lines, read_library

MIN_TRIALS = 6  # smallest number of trials with a value
SUFFIX = ".jsonl"
ENDED = ("finished", "stopped", "diverged", "out_of_memory")


def folder() -> Path:
    """Return the folder of the user's libraries, which may not exist."""
    return cache_dir() / "knowledge"


def own_libraries() -> list[Library]:
    """Return the libraries of all searches that the user has named in `learn`, sorted by name.

    Raise UserError if a file is damaged.
    """
    libraries = []
    for path in sorted(folder().glob(f"*{SUFFIX}")):
        try:
            library = read_library(path)
            if not library.sets:
                raise ValueError("it has no trainings")
        except (OSError, ValueError, LookupError, TypeError, AttributeError, UserError) as error:
            raise UserError(
                f"{path}: cannot be read ({error}). Remove this file; `fastgan-ray learn RUN` "
                "makes it again from the folder of the search."
            ) from error
        libraries.append(library)
    return libraries


def learn_search(
    name: str,
    spec: SearchSpec,
    trials: Sequence[Mapping[str, Any]],
    pictures: Sequence[Described],
) -> Library:
    """Return the library of a search, and write it to the cache for later searches.

    `name` is the name under which it is kept; a library of this name is replaced. `trials` are the
    records of the trials, each with its evaluations in the key "rows". `pictures` describes the
    search's set of pictures (`data.described`). Raise UserError if the search has several metrics
    or population-based training, or if fewer than `MIN_TRIALS` trials have a value.
    """
    if spec.costs or spec.population is not None:
        kind = "has several metrics" if spec.costs else "changes settings during trials"
        raise UserError(f"{name}: this search {kind}, so other searches cannot learn from it.")
    known = [trial_of(spec, trial, trial["rows"]) for trial in trials if trial["state"] in ENDED]
    count = sum(is_ranked(trial) for trial in known)
    if count < MIN_TRIALS:
        raise UserError(
            f"{name}: must have at least {counted(MIN_TRIALS, 'trial')} with a value, so that "
            f"other searches can learn from them (got {count})."
        )
    if not encoded_parameters(spec.space):
        raise UserError(f"{name}: searches only train.seed, so there is nothing to learn from it.")
    about = ", ".join(str(described["path"]) for described in pictures)
    number = sum(described["pictures"] for described in pictures)
    plain = pictures[0].get("plain") if pictures else None
    library = learn(spec, [DataSet(name, about, number, plain, known)])
    folder().mkdir(parents=True, exist_ok=True)
    write_atomically(folder() / f"{name}{SUFFIX}", "".join(library_lines(library)))
    return library


def forget_search(name: str) -> None:
    """Remove the library of a search; raise UserError if there is none."""
    path = folder() / f"{name}{SUFFIX}"
    if not path.is_file():
        known = sorted(other.name.removesuffix(SUFFIX) for other in folder().glob(f"*{SUFFIX}"))
        names = ", ".join(known) or "none"
        raise UserError(
            f"{name}: `learn` has not recorded a search of this name. Recorded searches: {names}."
        )
    path.unlink()
