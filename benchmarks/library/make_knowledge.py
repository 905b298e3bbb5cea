"""Make the library that comes with the package, from the recorded trainings of one scale.

    PYTHONPATH=benchmarks python benchmarks/library/make_knowledge.py [--scale 32px]

Writes fastgan_ray/search/knowledge/library.jsonl: the trainings of all sets with enough recorded
points, and the hyperparameters that fit all of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from design import SETS, search
from picture_sets import SETS as PICTURE_SETS
from record import FOLDER, recorded, recordings_parser

from fastgan_ray.files import write_atomically
from fastgan_ray.search.curves.trials import Trial
from fastgan_ray.search.knowledge.learn import learn
from fastgan_ray.search.knowledge.library import FILE, DataSet, Library, library_lines

METRIC = "fd_efficientnet_lite0"
FACTS = Path(__file__).with_name("sets.json")  # written by measure_sets.py
MIN_POINTS = 6  # a set with fewer recorded points is left out


def make_library(scale: str, folder: Path = FOLDER, without: str = "") -> Library:
    """Return the library of all sets that have at least `MIN_POINTS` points at a scale.

    The set `without` is left out: a comparison that searches this set must not know it.
    """
    lines: dict[str, list[Mapping[str, Any]]] = {}
    for line in recorded(folder):
        if line["scale"] == scale:
            lines.setdefault(line["set"], []).append(line)
    sets = [
        data_set(name, lines[name])
        for name in SETS
        if name != without and len({line["number"] for line in lines.get(name, [])}) >= MIN_POINTS
    ]
    return learn(search(scale), sets)


def data_set(name: str, lines: Sequence[Mapping[str, Any]]) -> DataSet:
    """Return the trainings of a set; the pictures of embedded sets are described in the package."""
    known = PICTURE_SETS.get(name)
    about = "embedded in the package"
    if known:
        about = f"{known.kind}; {', '.join(known.packages)} {known.version}; {known.licence}"
    facts, trials = set_facts()[name], [trial(line) for line in lines]
    return DataSet(name, about, int(facts["pictures"]), facts["plain"], trials)


def set_facts() -> dict[str, dict[str, float]]:
    """Return what `measure_sets.py` has measured, by set."""
    facts: dict[str, dict[str, float]] = json.loads(FACTS.read_text())
    return facts


def trial(line: Mapping[str, Any]) -> Trial:
    """Return a recorded training as a trial."""
    if line["outcome"] != "finished":
        return Trial(line["point"], {}, is_infeasible=True)
    rows = line["rows"]
    return Trial(line["point"], dict(zip(rows["kimg"], rows[METRIC], strict=True)))


def main() -> None:
    """Write the library."""
    parser = recordings_parser(__doc__)
    options = parser.parse_args()
    library = make_library(options.scale, options.folder)
    write_atomically(FILE, "".join(library_lines(library)))
    for known in library.sets:
        print(f"{known.name}: {len(known.trials)} trainings ({known.about})")
    left_out = sorted({*SETS} - {known.name for known in library.sets})
    print(f"Left out, with fewer than {MIN_POINTS} configurations: {', '.join(left_out) or 'none'}")


if __name__ == "__main__":
    main()
