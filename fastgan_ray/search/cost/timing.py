"""Estimate training time on this machine's CPU from a few measured speeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fastgan_ray.config.run_config import RunConfig


@dataclass(frozen=True)
class Timing:
    """The speeds of this machine that `fastgan-ray` has measured, averaged over configurations.

    `seconds_per_kimg` is the time to train on a thousand real pictures. `seconds_per_kfakes` is the
    time to generate a thousand pictures and to compute their features for the metric. `at_once` is
    the number of trainings that can run at the same time. `configurations` is the number of
    configurations in the average. Configurations with equal cost are in one class, and only one
    configuration of each class is timed; `classes` is the number of classes. `seconds` is the
    duration of the measurement.
    """

    seconds_per_kimg: float
    seconds_per_kfakes: float
    at_once: int
    configurations: int
    classes: int
    seconds: float


@dataclass(frozen=True)
class CpuSpeed:
    """The measured speed of a CPU for networks of several sizes.

    `speeds` has a pair (GFLOP of one picture, GFLOP per second) for each network, in ascending
    order. `at_once` is the number of trainings that run on the CPU at the same time.
    """

    speeds: Sequence[tuple[float, float]]
    at_once: int

    def gflops(self, gflop_per_image: float) -> float:
        """Return the CPU's GFLOP per second for a network with `gflop_per_image`.

        The speed is interpolated between the first and the last network in `speeds`.
        """
        sizes = [math.log(size) for size, _ in self.speeds]
        (low, high), (slow, fast) = (sizes[0], sizes[-1]), (self.speeds[0][1], self.speeds[-1][1])
        share = (math.log(max(gflop_per_image, 1e-9)) - low) / (high - low)
        return slow + min(max(share, 0.0), 1.0) * (fast - slow)

    def minutes(self, kimg: float, gflop_per_image: float) -> float:
        """Return the minutes for trainings of `kimg` kimg in total, without their evaluations."""
        seconds = kimg * 1000 * gflop_per_image / self.gflops(gflop_per_image)
        return seconds / self.at_once / 60


def seconds_of(timing: Timing, kimg: float, config: RunConfig) -> float:
    """Estimate the wall-clock seconds for `kimg` of training with `config`.

    `kimg` may be the sum of several trainings. Each of them has the length and the evaluations of
    `config`. The estimate includes generating the pictures of evaluations and computing their
    features, also for the second measurement of the best checkpoint. It does not include computing
    metrics from the features, starting processes and reading pictures.
    """
    total, kfakes = config.train.total_kimg, evaluated_pictures(config) / 1000
    seconds_per_kimg = timing.seconds_per_kimg + timing.seconds_per_kfakes * kfakes / total
    return kimg * seconds_per_kimg / timing.at_once


def evaluated_pictures(config: RunConfig) -> int:
    """Return the largest number of pictures that the evaluations of one training can generate.

    With `train.keep_best`, the best checkpoint is measured again at the end. With cheap evaluations
    (`eval.early_fakes`), there are two differences. The last checkpoint gets a cheap evaluation,
    too. And the best checkpoint is measured again only if it is not the last checkpoint. If the
    training has a single evaluation, the two are always the same.
    """
    total, every, full = config.train.total_kimg, config.eval.every_kimg, config.eval.num_fakes
    early_evaluations = math.ceil(total / every - 1e-9) - 1
    cheap = config.eval.early_fakes
    pictures = early_evaluations * (cheap or full) + full
    if config.train.keep_best == 0:
        return pictures
    if cheap is None:
        return pictures + full
    return pictures + cheap + (full if early_evaluations else 0)
