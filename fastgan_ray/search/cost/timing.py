"""Estimates of training time on a machine, from a few measured speeds."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fastgan_ray.config.run_config import RunConfig


@dataclass(frozen=True)
class Timing:
    """Measured speeds of this machine, averaged over configurations.

    `seconds_per_kimg` is the time to train on a thousand real pictures. `seconds_per_kfakes` is the
    time to generate a thousand pictures and to run the metric's network on them. `at_once` is the
    number of trainings that fit on the machine at the same time. `configurations` is the number of
    configurations in the average. Configurations of equal cost form a class, and only one of each
    class is timed; `classes` is the number of classes. `seconds` is the duration of the
    measurement.
    """

    seconds_per_kimg: float
    seconds_per_kfakes: float
    at_once: int
    configurations: int
    classes: int
    seconds: float


def seconds_of(timing: Timing, kimg: float, config: RunConfig) -> float:
    """Estimate the wall-clock seconds for `kimg` kimg of training with `config`.

    The kimg may come from several trainings; each has the length and the evaluations of `config`.
    The estimate includes generating the pictures of evaluations and computing their features. It
    does not include computing metrics from the features, starting processes and reading pictures.
    """
    total, every = config.train.total_kimg, config.eval.every_kimg
    early_evaluations = math.ceil(total / every - 1e-9) - 1
    early_fakes = config.eval.early_fakes or config.eval.num_fakes
    kfakes = (early_evaluations * early_fakes + config.eval.num_fakes) / 1000
    seconds_per_kimg = timing.seconds_per_kimg + timing.seconds_per_kfakes * kfakes / total
    return kimg * seconds_per_kimg / timing.at_once
