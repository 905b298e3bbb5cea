"""The recorded trainings as a task for searches: the curve, true value and cost of any point."""

from __future__ import annotations

import bisect
import itertools
import json
import math
import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from record_curves import GRID, METRIC, RATES, SEEDS, recorded
from replay import Step

from fastgan_ray.search.file.read import spec_from_text
from fastgan_ray.search.file.spec import SearchSpec

Point = dict[str, Any]

# The shares of a training's time that depend on its batch size, on its width, and on neither: with
# networks as small as these, most is overhead. Calculated, not measured on a busy machine.
STEPS, WIDTH, REST = 0.3, 0.2, 0.5
SPACE = f"""
  model.ngf: {{values: [4, 8]}}
  train.batch_size: {{values: [4, 8]}}
  augment.policy: {{values: ["", "color,translation"]}}
  train.lr_g: {{distribution: log_uniform_values, min: {RATES[0]}, max: {RATES[-1]}}}
  train.lr_d: {{distribution: log_uniform_values, min: {RATES[0]}, max: {RATES[-1]}}}
"""


class Task:
    """Every combination of the grid, trained with two seeds, and bilinear between learning rates.

    The interpolation is in the logarithms of rates and values. The true value of a point is the
    mean of its seeds. A simulated trial adds the noise of a random recorded one, which is the
    difference of its two seeds divided by the square root of two. So the noise has its true size
    and course, and no search profits from the same noise twice.
    """

    def __init__(self) -> None:
        by_seed: dict[int, dict[str, Any]] = {seed: {} for seed in SEEDS}
        for training in recorded():
            if training["outcome"] == "finished":
                rows, point = training["rows"], training["point"]
                by_seed[point["train.seed"]][_key(point)] = np.log([row[METRIC] for row in rows])
                self.kimg = [round(row["kimg"], 1) for row in rows]
        first, second = (by_seed[seed] for seed in SEEDS)
        both = sorted(first.keys() & second.keys())
        self._logs = {key: (first[key] + second[key]) / 2 for key in both}
        self._noise = [(first[key] - second[key]) / math.sqrt(2) for key in both]
        self.noise = np.std(self._noise, axis=0)  # of the logarithm, by row
        self.values = sorted(math.exp(log[-1]) for log in self._logs.values())
        self.best = self.values[0]

    def spec(self, method: str, rule: str, seed: int, total_kimg: float) -> SearchSpec:
        """Return a search of this task. `method` and `rule` are lines of a search file."""
        text = f"""
name: b
{method}
metric: {{name: {METRIC}}}
run_cap: 200
seed: {seed}
{rule}
base: {{eval: {{extractor: efficientnet_lite0}}, train: {{total_kimg: {total_kimg}}}}}
parameters: {SPACE}"""
        return spec_from_text(text, "b.yaml")

    def curve(self, point: Point, seed: int) -> list[Step]:
        """Return a training's reports; it diverges if a grid point beside it diverged."""
        log = self._log(point)
        if log is None:
            return [Step(self.kimg[0], None, 0.0, self._seconds(point), "diverged")]
        rng = random.Random(f"{seed}:{json.dumps(point, sort_keys=True)}")
        noise = rng.choice((-1, 1)) * rng.choice(self._noise)
        return [
            Step(kimg, math.exp(value), 0.0, self._seconds(point))
            for kimg, value in zip(self.kimg, log + noise, strict=True)
        ]

    def truth(self, point: Point) -> float:
        """Return the last value of a training without noise; infinite if it diverges."""
        log = self._log(point)
        return math.inf if log is None else math.exp(log[-1])

    def _log(self, point: Point) -> NDArray[np.float64] | None:
        corners = list(_corners(point))
        if any(key not in self._logs for key, weight in corners if weight > 0):
            return None
        return sum(weight * self._logs[key] for key, weight in corners if weight > 0)

    def _seconds(self, point: Point) -> float:
        """Return the time from one row to the next; a complete training takes 1 on average."""
        steps = STEPS * 8 / point["train.batch_size"] / 1.5
        width = WIDTH * point["model.ngf"] / 6
        return (steps + width + REST) / len(self.kimg)


def _key(point: Point) -> str:
    return json.dumps({name: point[name] for name in GRID})


def _corners(point: Point) -> Iterator[tuple[str, float]]:
    """Return the grid's points around a point, with weights that add up to 1."""
    sides = [_between(point[name]) for name in ("train.lr_g", "train.lr_d")]
    for (lr_g, share_g), (lr_d, share_d) in itertools.product(*sides):
        yield _key({**point, "train.lr_g": lr_g, "train.lr_d": lr_d}), share_g * share_d


def _between(rate: float) -> Sequence[tuple[float, float]]:
    """Return the recorded rates on both sides, with their weights."""
    high = min(max(bisect.bisect_left(RATES, rate), 1), len(RATES) - 1)
    below, above = RATES[high - 1], RATES[high]
    share = min(max(math.log(rate / below) / math.log(above / below), 0.0), 1.0)
    return [(below, 1 - share), (above, share)]
