"""How much a search of a given size finds on the recorded data sets.

    PYTHONPATH=benchmarks python benchmarks/library/gains.py [--seeds 20]

Writes fastgan_ray/search/knowledge/gains.json, from which `check` says what a search can expect. A
search is simulated as in `compare.py`: what is recorded of other sets is known, what is recorded of
its own is not. The sets of the role `once` are left out.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Mapping
from functools import partial

import numpy as np
import torch
from compare import known_to, truth_of
from design import SCALES, point, roles
from make_knowledge import make_library
from record import recordings_parser
from truth import Truth
from ways_to_search import searches

from fastgan_ray.files import write_atomically
from fastgan_ray.search.knowledge.gains import FILE
from fastgan_ray.search.knowledge.library import Library

SAMPLERS = {"curves": "curves, none", "tpe": "tpe, none", "random": "random, none"}
SIZES = (2, 4, 6, 8, 12, 16, 24, 32)  # complete trainings
PROCESSES = 2


def gains_of(
    truths: Mapping[str, Truth],
    libraries: Mapping[str, Library],
    scale: str,
    job: tuple[str, str, int],
) -> tuple[str, str, list[float]]:
    """Return what a search gains over the published default after each size, in percent."""
    name, sampler, seed = job
    task = truths[name].draw(seed)
    with known_to(name, libraries[name]):
        points = searches()[SAMPLERS[sampler]](task, seed)
    default = task.truth(point(scale, 0))
    spent = [cost for cost, _ in points]
    chosen = [points[max(0, int(np.searchsorted(spent, size, side="right")) - 1)] for size in SIZES]
    return name, sampler, [100 * (1 - task.truth(best) / default) for _, best in chosen]


def main() -> None:
    """Simulate the searches and write the file."""
    parser = recordings_parser(__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)
    names = [*roles()["choose"], *roles()["report"]]
    found = {name: truth_of(options.folder, name, options.scale) for name in names}
    truths = {name: truth for name, truth in found.items() if truth is not None}
    libraries = {name: make_library(options.scale, options.folder, name) for name in truths}
    jobs = [
        (name, sampler, seed)
        for sampler in SAMPLERS
        for name in truths
        for seed in range(options.seeds)
    ]
    gains: dict[str, dict[str, list[list[float]]]] = {sampler: {} for sampler in SAMPLERS}
    run = partial(gains_of, truths, libraries, options.scale)
    with multiprocessing.get_context("fork").Pool(PROCESSES) as pool:
        for name, sampler, gain in pool.imap_unordered(run, jobs):
            gains[sampler].setdefault(name, []).append([round(value, 1) for value in gain])
    content = {
        "resolution": SCALES[options.scale].resolution,
        "sizes": SIZES,
        "gains": {
            sampler: {name: sorted(of_set[name]) for name in truths}
            for sampler, of_set in gains.items()
        },
    }
    write_atomically(FILE, json.dumps(content, separators=(",", ":")) + "\n")
    for sampler, of_set in gains.items():
        every = np.array([gain for of_name in of_set.values() for gain in of_name])
        print(sampler, dict(zip(SIZES, np.median(every, axis=0).round(1).tolist(), strict=True)))


if __name__ == "__main__":
    main()
