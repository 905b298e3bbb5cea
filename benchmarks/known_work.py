"""Stand-ins for training whose cost is known, and the search that tries them.

Trials run in processes of Ray's, which import this module.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.search.file.read import spec_from_text
from fastgan_ray.search.file.spec import SearchSpec
from fastgan_ray.train.reporter import Reporter

METRIC = "fd_efficientnet_lite0"
EVALUATIONS = 3
TEXT = """
name: known-work
method: bayes
metric: {{name: {metric}}}
confirm: false
run_cap: {trials}
{rule}
base: {{eval: {{extractor: efficientnet_lite0}}, train: {{total_kimg: {kimg}}}}}
parameters:
  model.ngf: {{values: [8, 16, 32, 64]}}
  augment.policy: {{values: ["", "color,translation", "color,translation,cutout"]}}
  train.lr_g: {{distribution: log_uniform_values, min: 1e-5, max: 1e-2}}
  train.lr_d: {{distribution: log_uniform_values, min: 1e-5, max: 1e-2}}
  train.loss: {{values: [hinge, logistic]}}
  train.r1_gamma:
    {{distribution: log_uniform_values, min: 0.01, max: 10, when: {{train.loss: logistic}}}}
"""


def known_search(trials: int, kimg: float, stops: bool) -> SearchSpec:
    """A search by TPE over six parameters, one of them conditional; `stops`: by ASHA."""
    rule = f"early_terminate: {{type: hyperband, min_iter: {kimg / EVALUATIONS}, eta: 3}}"
    text = TEXT.format(metric=METRIC, trials=trials, kimg=kimg, rule=rule if stops else "")
    return spec_from_text(text, "known-work.yaml")


def compute(config: RunConfig, reporter: Reporter, resume_from: Path | None) -> None:
    """Take a second of a core for each kimg; the folder's work.json says from when to when.

    What a training imports, itself or by making an optimiser, is imported before.
    """
    import torch

    torch.compiler.reset()  # imports the compiler, whose time is no part of the work

    import fastgan_ray.train.loop  # noqa: F401 - imported only so that its time is not counted

    began = time.time()
    total = config.train.total_kimg
    for part in range(1, EVALUATIONS + 1):
        until = time.thread_time() + total / EVALUATIONS
        while time.thread_time() < until:
            np.linalg.svd(np.ones((64, 64)))
        if part == EVALUATIONS:
            (reporter.folder / "work.json").write_text(json.dumps([began, time.time()]))
        evaluate(config, reporter, total * part / EVALUATIONS)


def at_once(config: RunConfig, reporter: Reporter, resume_from: Path | None) -> None:
    """Report three evaluations and end."""
    for part in range(1, EVALUATIONS + 1):
        evaluate(config, reporter, config.train.total_kimg * part / EVALUATIONS)


def evaluate(config: RunConfig, reporter: Reporter, kimg: float) -> None:
    """What the training loop does at an evaluation, with a checkpoint that holds nothing."""
    checkpoint = reporter.folder / f"checkpoint-{round(kimg * 1000):09d}"
    checkpoint.mkdir(exist_ok=True)
    (checkpoint / "metadata.json").write_text(json.dumps({"kimg": kimg}))
    value = 100 * abs(np.log10(config.train.lr_g) + 3) + 64 / config.model.ngf + 4 / kimg
    row: dict[str, Any] = {"kimg": kimg, "seconds": kimg, "images_per_second": 1.0}
    reporter.report({**row, METRIC: float(value)}, checkpoint)
