"""A data set as a task for searches: smooth random curves that agree with its recorded trainings.

A recorded curve has the logarithms of a training's distances. It is a mean curve plus a few
principal components, each with a score. A score is a function of the point, with a Gaussian
process as its prior. The process has a product of squared-exponential kernels, one for each
parameter, and is fitted to the recorded points. Its mean would be too flat where little was
recorded. So a task is a function drawn from the process, by random Fourier features and Matheron's
rule (Wilson et al. 2020), and each seed of a comparison searches another function that agrees with
the recordings. The product's model of learning curves has another kernel, so no sampler searches
functions from its own prior.

A training adds the luck of a random recorded pair of seeds, as in `recorded_task`.
"""

from __future__ import annotations

import json
import math
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
import yaml
from design import SPACE
from numpy.typing import NDArray
from replay import Step

from fastgan_ray.search.curves.features import encode
from fastgan_ray.search.file.read import spec_from_text
from fastgan_ray.search.file.spec import SearchSpec
from fastgan_ray.search.space import SearchSpace, sample

Array = NDArray[np.float64]
Point = dict[str, Any]

COMPONENTS = 3
FEATURES = 512  # random Fourier features of a drawn function
SAMPLES = 5000  # random points among which the best one of a task is looked for
STEPS = 300  # of Adam, to fit a score's kernel
METRIC = "fd_efficientnet_lite0"


@dataclass(frozen=True)
class Recordings:
    """What is recorded of a set at a scale: points, mean log curves, lucks, and seconds of a core.

    `curves` is (points, rows), the mean over the seeds of a point. `counts` has the number of these
    seeds. `lucks` is (pairs, rows): the difference of two seeds of a point, divided by the square
    root of 2. `diverged` are the points of which a training diverged.
    """

    space: SearchSpace
    kimg: list[float]
    points: list[Point]
    curves: Array
    counts: Array
    lucks: Array
    seconds: Array
    diverged: list[Point]


def recordings(space: SearchSpace, lines: Sequence[Mapping[str, Any]]) -> Recordings:
    """Collect the lines of one set and one scale."""
    by_number: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for line in lines:
        by_number[line["number"]].append(line)
    points, curves, counts, seconds, lucks, diverged = [], [], [], [], [], []
    kimg: list[float] = []
    for same in by_number.values():
        ended = [line for line in same if line["outcome"] == "finished"]
        if len(ended) < len(same):
            diverged.append(same[0]["point"])
        if not ended:
            continue
        kimg = ended[0]["rows"]["kimg"]
        logs = np.log([line["rows"][METRIC] for line in ended])
        points.append(ended[0]["point"])
        curves.append(logs.mean(axis=0))
        counts.append(len(ended))
        seconds.append(np.mean([line["cpu_seconds"] for line in ended]))
        lucks += [(logs[i] - logs[i + 1]) / math.sqrt(2) for i in range(0, len(ended) - 1, 2)]
    return Recordings(
        space,
        kimg,
        points,
        np.array(curves),
        np.array(counts, dtype=float),
        np.array(lucks).reshape(len(lucks), len(kimg)),
        np.array(seconds),
        diverged,
    )


@dataclass(frozen=True)
class Score:
    """The process of one score: weights of the parameters, variances, and the standardisation."""

    weights: Array  # (parameters,): 1 / length^2
    variance: float
    noise: Array  # (points,): variance of each recorded score
    mean: float
    values: Array  # (points,)


class Truth:
    """The processes of all scores of a data set; `draw` makes a task from them."""

    def __init__(self, recorded: Recordings) -> None:
        self.recorded = recorded
        self.mean = recorded.curves.mean(axis=0)
        _, _, directions = np.linalg.svd(recorded.curves - self.mean, full_matrices=False)
        self.directions = directions[:COMPONENTS]
        scores = (recorded.curves - self.mean) @ self.directions.T
        luck = (
            (recorded.lucks @ self.directions.T)
            if len(recorded.lucks)
            else np.zeros((1, COMPONENTS))
        )
        self.columns = encode(recorded.space, recorded.points)
        self.scores = [
            fit_score(self.columns, scores[:, k], float((luck[:, k] ** 2).mean()), recorded.counts)
            for k in range(len(self.directions))
        ]

    @cached_property
    def seconds(self) -> Array:
        """Coefficients of log seconds: a constant, and the columns of the points (ridge)."""
        features = _with_constant(self.columns)
        penalty = 0.1 * np.eye(features.shape[1])
        penalty[0, 0] = 0
        target = np.log(self.recorded.seconds)
        return np.linalg.solve(features.T @ features + penalty, features.T @ target)

    def draw(self, seed: int) -> Task:
        """Draw a function for each score, and return the task."""
        rng = np.random.default_rng(seed)
        return Task(self, [Path(score, self.columns, rng) for score in self.scores], seed)

    def cross_validated(self, folds: int = 10) -> float:
        """Return R^2 of the last row's prediction at points that were left out."""
        recorded = self.recorded
        order = np.random.default_rng(0).permutation(len(recorded.points))
        residual = total = 0.0
        for fold in range(folds):
            out = order[fold::folds]
            kept = np.setdiff1d(order, out)
            predicted = np.zeros(len(out))
            for score, direction in zip(self.scores, self.directions, strict=True):
                predicted += _predict(score, self.columns, kept, out) * direction[-1]
            truth = recorded.curves[out, -1] - self.mean[-1]
            residual += float(((truth - predicted) ** 2).sum())
            total += float((truth**2).sum())
        return 1 - residual / total


def fit_score(columns: Sequence[Array], values: Array, luck: float, counts: Array) -> Score:
    """Fit weights, variance and noise of a score by the marginal likelihood with a weak prior.

    `luck` is the variance that a seed adds; the noise has that, divided by the number of seeds, and
    a further part that is fitted.
    """
    mean, spread = float(values.mean()), float(values.std()) or 1.0
    target = torch.tensor((values - mean) / spread)
    squared = torch.tensor(_squared(columns, columns))
    known = torch.tensor(luck / counts / spread**2)
    logs = torch.full((len(columns),), math.log(0.5), dtype=torch.float64, requires_grad=True)
    rest = torch.tensor([0.0, math.log(0.1)], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([logs, rest], lr=0.05)
    for _ in range(STEPS):
        optimizer.zero_grad()
        kernel = rest[0].exp() * torch.exp(-0.5 * torch.einsum("p,pij->ij", logs.exp(), squared))
        kernel = kernel + torch.diag(known + rest[1].exp())
        normal = torch.distributions.MultivariateNormal(
            torch.zeros(len(target), dtype=torch.float64), kernel
        )
        # Few parameters matter: the prior of a weight is exponential.
        loss = (
            -normal.log_prob(target)
            + logs.exp().sum()
            + 0.5 * (rest[0] ** 2 + (rest[1] + 2.3) ** 2)
        )
        loss.backward()
        optimizer.step()
    variance, extra = rest.detach().exp().tolist()
    noise = (known.numpy() + extra) * spread**2
    return Score(logs.detach().exp().numpy(), variance * spread**2, noise, mean, values)


class Path:
    """A function drawn from the process of a score."""

    def __init__(self, score: Score, columns: Sequence[Array], rng: np.random.Generator) -> None:
        self._score, self._columns = score, columns
        widths = [part.shape[1] for part in columns]
        scale = np.repeat(np.sqrt(score.weights), widths)
        self._frequencies = rng.normal(size=(FEATURES, sum(widths))) * scale
        self._phases = rng.uniform(0, 2 * math.pi, FEATURES)
        self._loads = rng.normal(size=FEATURES) * math.sqrt(2 * score.variance / FEATURES)
        kernel = _kernel(score, _squared(columns, columns))
        noisy = self._prior(columns) + rng.normal(size=len(score.values)) * np.sqrt(score.noise)
        difference = score.values - score.mean - noisy
        self._update = np.linalg.solve(kernel + np.diag(score.noise), difference)

    def _prior(self, columns: Sequence[Array]) -> Array:
        angles = np.concatenate(columns, axis=1) @ self._frequencies.T + self._phases
        return np.cos(angles) @ self._loads

    def __call__(self, columns: Sequence[Array]) -> Array:
        """Return the score at points (encoded)."""
        cross = _kernel(self._score, _squared(columns, self._columns))
        return self._score.mean + self._prior(columns) + cross @ self._update


class Task:
    """A drawn task, with the methods of `recorded_task.Task`: curve, true value, cost, search.

    A complete training costs 1 on average over the recorded points.
    """

    def __init__(self, truth: Truth, paths: Sequence[Path], seed: int) -> None:
        self._truth, self._paths, self._seed = truth, paths, seed
        self.kimg = truth.recorded.kimg
        self._second = 1 / float(truth.recorded.seconds.mean())

    @cached_property
    def values(self) -> list[float]:
        """The true values of random points and of the recorded ones, the best first."""
        space, rng = self._truth.recorded.space, random.Random(self._seed)
        points = [*self._truth.recorded.points, *(sample(space, rng) for _ in range(SAMPLES))]
        return sorted(np.exp(self._logs(points)[:, -1]).tolist())

    @property
    def best(self) -> float:
        """The best of `values`."""
        return self.values[0]

    def spec(self, method: str, rule: str, seed: int, total_kimg: float) -> SearchSpec:
        """Return a search of this task. `method` and `rule` are lines of a search file."""
        text = yaml.safe_load(SPACE.read_text())
        text |= {"run_cap": 400, "seed": seed}
        del text["method"], text["sampler"]
        text["base"]["train"]["total_kimg"] = total_kimg
        text["base"]["data"]["path"] = "pictures"  # no embedded set, whose trainings are left out
        written = yaml.safe_dump(text, sort_keys=False)
        return spec_from_text(f"{method}\n{rule}\n{written}", "library.yaml")

    def curve(self, point: Point, seed: int) -> list[Step]:
        """Return the reports of a training, with the luck of a random recorded pair.

        The training diverges if a training of the nearest recorded point diverged.
        """
        recorded = self._truth.recorded
        cost = self._second * self._seconds(point) / len(self.kimg)
        if self._diverges(point):
            return [Step(self.kimg[0], None, 0.0, cost, "diverged")]
        rng = random.Random(f"{self._seed}:{seed}:{json.dumps(point, sort_keys=True)}")
        luck = rng.choice((-1, 1)) * recorded.lucks[rng.randrange(len(recorded.lucks))]
        values = np.exp(self._logs([point])[0] + luck)
        return [
            Step(kimg, float(value), 0.0, cost)
            for kimg, value in zip(self.kimg, values, strict=True)
        ]

    def truth(self, point: Point) -> float:
        """Return the last value of a training without luck; infinite if it diverges."""
        if self._diverges(point):
            return math.inf
        return float(np.exp(self._logs([point])[0, -1]))

    def _logs(self, points: Sequence[Point]) -> Array:
        """Return the log curves (points, rows) without luck."""
        columns = encode(self._truth.recorded.space, points)
        scores = np.stack([path(columns) for path in self._paths], axis=1)
        return np.asarray(self._truth.mean + scores @ self._truth.directions)

    def _seconds(self, point: Point) -> float:
        features = _with_constant(encode(self._truth.recorded.space, [point]))
        return float(np.exp(features @ self._truth.seconds)[0])

    def _diverges(self, point: Point) -> bool:
        recorded = self._truth.recorded
        if not recorded.diverged:
            return False
        known = [*recorded.points, *recorded.diverged]
        distances = _squared(encode(recorded.space, [point]), encode(recorded.space, known))
        return int(distances.sum(axis=0)[0].argmin()) >= len(recorded.points)


def _squared(first: Sequence[Array], second: Sequence[Array]) -> Array:
    return np.array(
        [((a[:, None] - b[None]) ** 2).sum(-1) for a, b in zip(first, second, strict=True)]
    )


def _kernel(score: Score, squared: Array) -> Array:
    return np.asarray(
        score.variance * np.exp(-0.5 * np.einsum("p,pij->ij", score.weights, squared))
    )


def _predict(score: Score, columns: Sequence[Array], kept: Array, out: Array) -> Array:
    rows = [part[kept] for part in columns]
    kernel = _kernel(score, _squared(rows, rows)) + np.diag(score.noise[kept])
    cross = _kernel(score, _squared([part[out] for part in columns], rows))
    mean = score.values[kept].mean()
    return np.asarray(mean + cross @ np.linalg.solve(kernel, score.values[kept] - mean))


def _with_constant(columns: Sequence[Array]) -> Array:
    return np.concatenate([np.ones((len(columns[0]), 1)), *columns], axis=1)
