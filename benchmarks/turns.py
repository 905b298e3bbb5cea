"""Ours and theirs in turn: seconds by stage, their ratios, and the table of them.

Whatever else a machine does meets both sides then, and a ratio is that of two neighbours. Without
a GPU seconds are the process' CPU time, on one thread: others on the machine do not count.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from machine import provenance
from torch import Tensor

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Side(NamedTuple):
    """One implementation's result, and its seconds by stage."""

    value: float
    seconds: dict[str, float]


class Case(NamedTuple):
    """A comparison: its name, the other implementation's, and a run of either."""

    name: str
    against: str
    ours: Callable[[], Side]
    theirs: Callable[[], Side]


class Outcome(NamedTuple):
    """What the turns of a case gave, ours and theirs."""

    case: Case
    turns: list[tuple[Side, Side]]

    def seconds(self, side: int, stages: tuple[str, ...] = ()) -> list[float]:
        """Of each turn, of some stages or of all; side 0 is ours."""
        found = [turn[side].seconds for turn in self.turns]
        return [sum(one[stage] for stage in stages or one) for one in found]

    def ratios(self, stages: tuple[str, ...] = ()) -> list[float]:
        """Theirs over ours, turn by turn."""
        pairs = zip(self.seconds(1, stages), self.seconds(0, stages), strict=True)
        return [theirs / ours for theirs, ours in pairs]

    def difference(self) -> float:
        """Of the two values, relative, at worst."""
        return max(abs(a.value - b.value) / abs(b.value) for a, b in self.turns)


def take_turns(case: Case, repeats: int) -> Outcome:
    """So many turns, after one of ours that finds no thread or page of memory ready."""
    case.ours()
    outcome = Outcome(case, [(case.ours(), case.theirs()) for _ in range(repeats)])
    print(row(case.name, outcome), flush=True)
    return outcome


def now() -> float:
    """Seconds: of the clock with a GPU, once that is done, and of this process without."""
    if DEVICE.type == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def timed(function: Callable[[], float]) -> Callable[[], Side]:
    """The function as a Side of one stage."""

    def run() -> Side:
        start = now()
        value = float(function())
        return Side(value, {"solve": now() - start})

    return run


class Stopwatch:
    """Seconds spent in functions, by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def __call__(
        self, stage: str, function: Callable[[Tensor], Tensor]
    ) -> Callable[[Tensor], Tensor]:
        """The function, its time counted under `stage`."""

        def run(batch: Tensor) -> Tensor:
            start = now()
            result = function(batch)
            self.seconds[stage] = self.seconds.get(stage, 0.0) + now() - start
            return result

        return run


def table(outcomes: list[Outcome]) -> list[str]:
    """Every case, and below it its stages where it has several."""
    lines = [
        "| what | ours, s | against, s | times as fast | relative difference |",
        "|---|---|---|---|---|",
    ]
    for one in outcomes:
        lines.append(row(f"{one.case.name}; {one.case.against}", one))
        stages = list(one.turns[0][0].seconds)
        if len(stages) > 1:
            lines += [row(f"... {stage}", one, (stage,)) for stage in stages]
    return lines


def row(name: str, outcome: Outcome, stages: tuple[str, ...] = ()) -> str:
    """A line of the table."""
    ours, theirs = (spread(outcome.seconds(side, stages)) for side in (0, 1))
    difference = "" if stages else f"{outcome.difference():.0e}"
    return f"| {name} | {ours} | {theirs} | {spread(outcome.ratios(stages))} | {difference} |"


def spread(values: list[float]) -> str:
    """Median (smallest to largest)."""
    low, middle, high = (f"{value:.3g}" for value in np.quantile(values, (0, 0.5, 1)))
    return f"{middle} ({low} to {high})"


def machine() -> str:
    """The day, what it ran on, and with which versions."""
    where = torch.cuda.get_device_name() if DEVICE.type == "cuda" else "one thread, CPU time"
    libraries = ("numpy", "scipy", "torch", "clean-fid", "torch-fidelity", "pillow")
    return f"{where}; {provenance(libraries)}"
