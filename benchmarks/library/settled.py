"""When does `budget: {until: settled}` end a search, and what does the search lose?

    PYTHONPATH=benchmarks python benchmarks/library/settled.py [--role choose] [--seeds 4]

Searches with the default sampler on the tasks that `truth.py` draws of each recorded set, each with
several values of `least_gain` and without a limit. Writes results/settled.md.
"""

from __future__ import annotations

import itertools
import multiprocessing
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from compare import PROCESSES, known_to, truth_of
from design import roles
from machine import provenance
from make_knowledge import make_library
from record import recordings_parser
from replay import replay
from search_task import BUDGET, WORKERS, best_expected, best_points
from truth import Truth

from fastgan_ray.search.knowledge.library import Library

RESULTS = Path(__file__).resolve().parents[1] / "results" / "settled.md"
LEAST_GAINS = (None, 0.25, 0.5, 1.0, 2.0)


class Ended(NamedTuple):
    """A search: its number of trials, and the regret of its result in percent."""

    trials: int
    regret: float


def run(
    truths: Mapping[str, Truth],
    libraries: Mapping[str, Library],
    job: tuple[str, int, float | None],
) -> tuple[str, float | None, Ended]:
    """Simulate a search of a set with a seed and a `least_gain`."""
    name, seed, least = job
    task = truths[name].draw(seed)
    rule = f"budget: {{until: settled, least_gain: {least}}}" if least else ""
    spec = task.spec("method: bayes", rule, seed, task.kimg[-1])
    with known_to(name, libraries[name]), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        trials = replay(
            spec, lambda point, config: task.curve(point, seed), Path(folder), WORKERS, BUDGET
        )
    _, best = best_points(trials, best_expected(spec.space, task.kimg[-1]))[-1]
    return name, least, Ended(len(trials), 100 * (task.truth(best) / task.best - 1))


def main() -> None:
    """Simulate the searches and write the table."""
    parser = recordings_parser(__doc__)
    parser.add_argument("--role", choices=list(roles()), default="choose")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = {name: truth_of(options.folder, name, options.scale) for name in roles()[options.role]}
    truths = {name: truth for name, truth in found.items() if truth is not None}
    libraries = {name: make_library(options.scale, options.folder, name) for name in truths}
    jobs = list(itertools.product(truths, range(options.seeds), LEAST_GAINS))
    ended: dict[tuple[str, float | None], list[Ended]] = {}
    with multiprocessing.get_context("fork").Pool(PROCESSES) as pool:
        for name, least, search in pool.imap_unordered(partial(run, truths, libraries), jobs):
            ended.setdefault((name, least), []).append(search)
    lines = [
        "# When does `budget: {until: settled}` end a search, and what does it lose?\n",
        f"`PYTHONPATH=benchmarks python benchmarks/library/settled.py --role {options.role} "
        f"--scale {options.scale} --seeds {options.seeds}`; {provenance(('optuna', 'ray'))}\n",
        f"Searches with the default sampler that may spend {BUDGET:g} trainings. For each "
        "`least_gain`: the number of trials (smallest to largest), and the regret of the result in "
        "percent, with its standard error.\n",
        "| set | " + " | ".join(_title(least) for least in LEAST_GAINS) + " |",
        "|---" * (len(LEAST_GAINS) + 1) + "|",
    ]
    for name in truths:
        cells = [_cell(ended[name, least]) for least in LEAST_GAINS]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    every = [[one for name in truths for one in ended[name, least]] for least in LEAST_GAINS]
    lines.append(f"| all | {' | '.join(map(_cell, every))} |")
    text = "\n".join(lines) + "\n"
    options.out.write_text(text)
    print(text, end="")


def _title(least: float | None) -> str:
    return "no limit" if least is None else f"{least:g} %"


def _cell(searches: Sequence[Ended]) -> str:
    trials, regrets = (np.array(column) for column in zip(*searches, strict=True))
    error = regrets.std(ddof=1) / len(regrets) ** 0.5 if len(regrets) > 1 else float("nan")
    return (
        f"{trials.mean():.0f} ({trials.min()} to {trials.max()}): "
        f"{regrets.mean():.1f} ± {error:.1f}"
    )


if __name__ == "__main__":
    main()
