"""What does orchestration cost beside trials of a minute? A known work against the ideal.

    python benchmarks/orchestration.py [SECONDS [TRIALS]]     60 and 10 by default

Six minutes of two quiet cores. Without an argument the result is written to results/; with one it
is only printed. `driver_costs.py` has what a thousand trials cost.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import known_work
from driver_costs import LIBRARIES, WORKERS, known_work_for_processes
from machine import provenance

from fastgan_ray.tune.experiment import TuneOptions
from fastgan_ray.tune.ray.session import connected
from fastgan_ray.tune.search import run_search

RESULTS = Path(__file__).parent / "results" / "orchestration.md"
SECONDS, TRIALS = 60.0, 10
TARGET = 0.9
EFFICIENCY = """
## Trials of a known work

{trials} trials of {seconds:g} s of one core each, {workers} at once, from `run_search` to its
return. The ideal is {ideal:.0f} s: no start, no gap, no end.

| what | |
| --- | ---: |
| wall-clock | {wall:.1f} s |
| **efficiency: ideal / wall-clock** (target: {target:.0%}) | **{efficiency:.1%}** |
| how much longer than a core's second a second of work took | {stretch:.2f} x |
| share of the {workers} places' time at work, by the clock | {at_work:.1%} |
| from the call to the first trial's first step | {first:.1f} s |
| between two trials of a place, in the same process | {gap:.1f} s |
| from the last trial's last step to the return | {last:.1f} s |
| not counted: Ray's own start | {start:.1f} s |

The efficiency counts whatever else the machine does (the stretch says how much), the share at
work only what lies between trials.
"""


class Works(NamedTuple):
    """Seconds of the clock: Ray's start, the search's call and return, and each trial's work."""

    start: float
    called: float
    returned: float
    spans: list[tuple[float, float]]


def main() -> None:
    given = [float(argument) for argument in sys.argv[1:]]
    seconds, trials = (*given, *(SECONDS, TRIALS)[len(given) :])
    known_work_for_processes()
    print(text := efficiency(search(seconds, int(trials)), seconds), flush=True)
    if not given:
        head = f"`python benchmarks/orchestration.py`, {provenance(LIBRARIES)}."
        RESULTS.write_text(f"# What orchestration costs\n\n{head}\n{text}")


def search(seconds: float, trials: int) -> Works:
    """Run trials of so many seconds of a core, each to its end."""
    spec = known_work.known_search(trials, seconds, stops=False)
    before = time.time()
    with tempfile.TemporaryDirectory() as runs, connected(None):
        called = time.time()
        options = TuneOptions(Path(runs), max_concurrent=WORKERS, wandb="off", quiet=True)
        folder = run_search(spec, options, known_work.compute)
        returned = time.time()
        found = [json.loads(path.read_text()) for path in folder.glob("trials/*/work.json")]
    assert len(found) == trials, "a trial did not end"
    return Works(called - before, called, returned, [(begun, ended) for begun, ended in found])


def efficiency(works: Works, seconds: float) -> str:
    """The first table."""
    trials, wall = len(works.spans), works.returned - works.called
    first = min(begun for begun, _ in works.spans)
    last = max(ended for _, ended in works.spans)
    worked = sum(ended - begun for begun, ended in works.spans)
    ideal = trials * seconds / WORKERS
    return EFFICIENCY.format(
        trials=trials,
        seconds=seconds,
        workers=WORKERS,
        ideal=ideal,
        wall=wall,
        target=TARGET,
        efficiency=ideal / wall,
        stretch=worked / (trials * seconds),
        at_work=worked / (WORKERS * wall),
        first=first - works.called,
        gap=mean_gap(works.spans),
        last=works.returned - last,
        start=works.start,
    )


def mean_gap(spans: Sequence[tuple[float, float]]) -> float:
    """Seconds from an end to the next start, where each start follows the earliest end."""
    begins = sorted(begun for begun, _ in spans)[WORKERS:]
    ends = sorted(ended for _, ended in spans)
    gaps = [begun - ended for begun, ended in zip(begins, ends, strict=False)]
    return sum(gaps) / max(1, len(gaps))


if __name__ == "__main__":
    main()
