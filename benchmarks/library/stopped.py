"""How many of the trials that a rule stops early would have ended among the best?

    PYTHONPATH=benchmarks python benchmarks/library/stopped.py [--seeds 4]

Random searches on the tasks that `truth.py` draws of each recorded set, with each rule. A trial
that was stopped is counted if its curve, with the luck of its training, would have ended among the
best tenth of all trials of its search. Writes results/stopped.md.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from compare import PROCESSES, truth_of
from design import roles
from machine import provenance
from record import recordings_parser
from replay import SimulatedTrial
from search_task import BUDGET
from truth import Truth
from ways_to_search import simulate

RESULTS = Path(__file__).resolve().parents[1] / "results" / "stopped.md"
RULES = ("chance", "asha 3", "asha 3 from second", "median")
BEST = 0.1  # share of the trials


class Stopped(NamedTuple):
    """The trials of a search, those that were stopped, and those of them among the best."""

    trials: int
    stopped: int
    among_best: int
    saved: float  # share of the reports that were not trained


def counted(trials: Sequence[SimulatedTrial]) -> Stopped:
    """Count the stopped trials of a search. Diverged trials are none of the best."""
    ends = np.array([trial.curve[-1].value or np.inf for trial in trials])
    limit = np.sort(ends)[max(1, round(BEST * len(trials))) - 1]
    stopped = np.array([trial.state == "stopped" for trial in trials])
    reports = sum(len(trial.steps) for trial in trials)
    whole = sum(len(trial.curve) for trial in trials)
    among_best = int((stopped & (ends <= limit)).sum())
    return Stopped(len(trials), int(stopped.sum()), among_best, 1 - reports / whole)


def run(truths: Mapping[str, Truth], job: tuple[str, str, int]) -> tuple[str, str, Stopped]:
    """Simulate a search of a set with a rule and a seed."""
    name, rule, seed = job
    task = truths[name].draw(seed)
    return name, rule, counted(simulate("random", rule, task, seed, task.kimg, BUDGET))


def main() -> None:
    """Simulate the searches and write the table."""
    parser = recordings_parser(__doc__)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    names = [name for sets in roles().values() for name in sets]
    found = {name: truth_of(options.folder, name, options.scale) for name in names}
    truths = {name: truth for name, truth in found.items() if truth is not None}
    jobs = list(itertools.product(truths, RULES, range(options.seeds)))
    searches: dict[tuple[str, str], list[Stopped]] = {}
    with multiprocessing.get_context("fork").Pool(PROCESSES) as pool:
        for name, rule, search in pool.imap_unordered(partial(run, truths), jobs):
            searches.setdefault((name, rule), []).append(search)
    text = report(options, list(truths), searches)
    options.out.write_text(text)
    print(text, end="")


def report(
    options: argparse.Namespace,
    names: Sequence[str],
    searches: Mapping[tuple[str, str], Sequence[Stopped]],
) -> str:
    """Return the table as Markdown."""
    lines = [
        "# How many of the trials that a rule stops early would have ended among the best?\n",
        f"`PYTHONPATH=benchmarks python benchmarks/library/stopped.py --scale {options.scale} "
        f"--seeds {options.seeds}`; {provenance(('optuna', 'ray'))}\n",
        f"Random searches that spend {BUDGET:g} trainings. For each rule: the share of the trials "
        "that it stops, the share of all reports that this saves, and the share of the stopped "
        f"trials that would have ended among the best tenth of their search (their number).\n",
        "| set | " + " | ".join(RULES) + " |",
        "|---" * (len(RULES) + 1) + "|",
    ]
    for name in names:
        cells = [_cell(searches[name, rule]) for rule in RULES]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    every = {rule: [s for name in names for s in searches[name, rule]] for rule in RULES}
    lines.append(f"| all | {' | '.join(_cell(every[rule]) for rule in RULES)} |")
    return "\n".join(lines) + "\n"


def _cell(searches: Sequence[Stopped]) -> str:
    trials, stopped, best = (sum(search[field] for search in searches) for field in range(3))
    saved = float(np.mean([search.saved for search in searches]))
    wrong = f"{best / stopped:.1%} ({best} of {stopped})" if stopped else "none stopped"
    return f"{stopped / trials:.0%}, saves {saved:.0%}, {wrong}"


if __name__ == "__main__":
    main()
