"""Measure what the driver of a search spends on a trial, by part, and the memory that it needs.

    python benchmarks/driver_costs.py [TRIALS...]     100, 300 and 1000 by default: three minutes

The trials are real, but do nothing.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import known_work
from machine import provenance

from fastgan_ray.tune.driver.live_table import LiveTable
from fastgan_ray.tune.driver.records import TrialRecords
from fastgan_ray.tune.driver.reports import Reports
from fastgan_ray.tune.driver.scheduler import EarlyStoppingScheduler
from fastgan_ray.tune.experiment import TuneOptions
from fastgan_ray.tune.ray.compat import TuneController
from fastgan_ray.tune.ray.session import connected
from fastgan_ray.tune.search import run_search
from fastgan_ray.tune.storage.snapshot import Snapshots
from fastgan_ray.tune.suggest.searcher import StudySearcher

RESULTS = Path(__file__).parent / "results" / "driver_costs.md"
SIZES = (100, 300, 1000)
LIBRARIES = ("ray", "optuna", "torch", "numpy")
COSTS = """
## A thousand trials

CPU milliseconds of the search's own process a trial, by part, in searches of {sizes} trials: real
ones through Ray, that report three evaluations and end at once, so that all is the driver's. TPE
over six parameters with ASHA.

| part | {heads} |
| --- | {rule} |
{rows}
| **in all** | {total} |
| largest memory, MB | {memory} |
| wall-clock, s a trial | {wall} |
"""
WORKERS = 2
PARTS: dict[str, tuple[type, tuple[str, ...]]] = {
    "the sampler's suggestion": (StudySearcher, ("suggest",)),
    "the study: values and ends": (StudySearcher, ("on_trial_result", "on_trial_complete")),
    "the searcher's state": (StudySearcher, ("save",)),
    "stopping rule": (EarlyStoppingScheduler, ("on_trial_result",)),
    "summary, table, best": (
        TrialRecords,
        ("write", "on_trial_complete", "on_trial_start", "on_step_end"),
    ),
    "report.html": (Reports, ("refresh",)),
    "snapshots of Ray's record": (Snapshots, ("on_step_end",)),
    "live table": (
        LiveTable,
        ("on_step_begin", "on_trial_start", "on_trial_result", "on_trial_complete"),
    ),
    "Ray's record": (TuneController, ("checkpoint",)),
}
REST = "Ray and all else"


class Costs(NamedTuple):
    """CPU milliseconds of the driver for each trial, by part; its largest memory; seconds."""

    trials: int
    parts: dict[str, float]
    total: float
    memory_mb: float
    seconds: float


class Clock:
    """CPU seconds of this thread by part; a part that another one calls is counted by itself."""

    def __init__(self) -> None:
        self.spent = dict.fromkeys(PARTS, 0.0)
        self._inner = [0.0]

    def watch(self, part: str, owner: type, name: str) -> None:
        """Count a method's time for a part, from now on in this process."""
        original: Callable[..., Any] = getattr(owner, name)

        @functools.wraps(original)
        def timed(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - of any method
            self._inner.append(0.0)
            began = time.thread_time()
            try:
                return original(*arguments, **named)
            finally:
                took = time.thread_time() - began
                self.spent[part] += took - self._inner.pop()
                self._inner[-1] += took

        setattr(owner, name, timed)


def driver_costs(trials: int) -> Costs:
    """Measure a search of so many trials in a new process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure, (trials,))


def _measure(trials: int) -> Costs:
    clock = Clock()
    for part, (owner, names) in PARTS.items():
        for name in names:
            clock.watch(part, owner, name)
    spec = known_work.known_search(trials, 3.0, stops=True)
    with (
        tempfile.TemporaryDirectory() as runs,
        Path(os.devnull).open("w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        connected(None),
    ):
        options = TuneOptions(Path(runs), max_concurrent=WORKERS, wandb="off")
        cpu, began = time.process_time(), time.monotonic()
        run_search(spec, options, known_work.at_once)
        cpu, seconds = time.process_time() - cpu, time.monotonic() - began
    parts = {part: 1000 * spent / trials for part, spent in clock.spent.items()}
    total = 1000 * cpu / trials
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Costs(trials, parts | {REST: total - sum(parts.values())}, total, memory, seconds)


def known_work_for_processes() -> None:
    """Let Ray's processes import the modules beside this file."""
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))


def table(costs_by_size: Sequence[Costs]) -> str:
    """Return the results as Markdown."""
    columns = [f"{costs.trials} trials" for costs in costs_by_size]
    rows = [
        _row(part, [costs.parts[part] for costs in costs_by_size])
        for part in costs_by_size[0].parts
    ]
    return COSTS.format(
        sizes=", ".join(str(costs.trials) for costs in costs_by_size),
        heads=" | ".join(columns),
        rule=" | ".join("---:" for _ in costs_by_size),
        rows="\n".join(rows),
        total=" | ".join(f"**{costs.total:.1f}**" for costs in costs_by_size),
        memory=" | ".join(f"{costs.memory_mb:.0f}" for costs in costs_by_size),
        wall=" | ".join(f"{costs.seconds / costs.trials:.2f}" for costs in costs_by_size),
    )


def _row(part: str, values: Sequence[float]) -> str:
    return f"| {part} | {' | '.join(f'{value:.1f}' for value in values)} |"


def main() -> None:
    sizes = [int(argument) for argument in sys.argv[1:]]
    known_work_for_processes()
    print(text := table([driver_costs(size) for size in sizes or SIZES]))
    if not sizes:
        head = f"`python benchmarks/driver_costs.py`, {provenance(LIBRARIES)}."
        RESULTS.write_text(f"# What the driver costs\n\n{head}\n{text}")


if __name__ == "__main__":
    main()
