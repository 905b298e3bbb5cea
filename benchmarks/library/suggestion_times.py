"""How long do a suggestion of `curves` and the expected values of all trials take?

    PYTHONPATH=benchmarks python benchmarks/library/suggestion_times.py

Simulates a search of 200 trials, each with eight evaluations, in the library's space (21
parameters) on a function drawn for the recorded portraits. Writes results/suggestion_times.md: CPU
seconds by the number of trials so far. `until: settled` computes a second suggestion.
"""

from __future__ import annotations

import dataclasses
import itertools
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from compare import known_to, truth_of
from machine import provenance
from make_knowledge import make_library
from record import FOLDER
from replay import SimulatedTrial, replay
from search_task import trial_of

from fastgan_ray.search.curves.ranking import rank
from fastgan_ray.search.space import SearchSpace
from fastgan_ray.tune.suggest.searcher import StudySearcher

RESULTS = Path(__file__).resolve().parents[1] / "results" / "suggestion_times.md"
SET, SCALE, TRIALS = "portraits", "32px", 200
EDGES = (0, 8, 25, 50, 100, 150, 190, 200)


def main() -> None:
    """Simulate the search and write the table."""
    torch.set_num_threads(1)
    truth = truth_of(FOLDER, SET, SCALE)
    assert truth is not None
    task = truth.draw(0)
    spec = dataclasses.replace(
        task.spec("method: bayes\nsampler: curves", "", 0, task.kimg[-1]), run_cap=TRIALS
    )
    seconds: list[float] = []
    suggest = StudySearcher.suggest

    def timed(searcher: StudySearcher, trial_id: str) -> object:
        started = time.process_time()
        answer = suggest(searcher, trial_id)
        if isinstance(answer, dict):
            seconds.append(time.process_time() - started)
        return answer

    with (
        tempfile.TemporaryDirectory() as folder,
        known_to(SET, make_library(SCALE, FOLDER, SET)),
        patch.object(StudySearcher, "suggest", timed),
    ):
        trials = replay(spec, lambda point, _: task.curve(point, 0), Path(folder))
    lines = [
        "# How long do a suggestion of `curves` and the expected values take?\n",
        "`PYTHONPATH=benchmarks python benchmarks/library/suggestion_times.py`; "
        f"{provenance(())}\n",
        "CPU seconds in a search with eight evaluations of each trial: of a suggestion (mean, "
        "largest), and of the expected values of all trials.\n",
        "| trials so far | a suggestion, mean | largest | expected values |",
        "|---" * 4 + "|",
        *(
            f"| {low} to {high} | {np.mean(seconds[low:high]):.2f} | {max(seconds[low:high]):.2f} "
            f"| {ranking_seconds(spec.space, trials[:high], task.kimg[-1]):.2f} |"
            for low, high in itertools.pairwise(EDGES)
        ),
    ]
    text = "\n".join(lines) + "\n"
    RESULTS.write_text(text)
    print(text, end="")


def ranking_seconds(
    space: SearchSpace, simulated: Sequence[SimulatedTrial], total_kimg: float
) -> float:
    """Return the CPU seconds that the expected values of all trials take."""
    trials = [trial_of(trial) for trial in simulated]
    started = time.process_time()
    ranking = rank(space, trials, total_kimg)
    assert ranking is not None
    ranking.expectations()
    return time.process_time() - started


if __name__ == "__main__":
    main()
