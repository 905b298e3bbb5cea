"""What metrics are called: a name states what was measured, how, and of how many pictures."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from fastgan_ray.config.schema import EvalConfig

Goal = Literal["minimize", "maximize"]

NEIGHBOURS = 5  # of precision, recall, density and coverage; part of their names
# Distances by what they are on Inception and on any other network, where they have no such name.
_DISTANCES = {"fd": ("fid", "fd"), "kd": ("kid", "kd")}
_INCEPTIONS = ("inception", "inception_pytorch")
_COUNTED = re.compile(r"(fid|kid)\d+k?_full")


def metric_name(config: EvalConfig, family: str = "fd") -> str:
    """The name of the Frechet (`fd`) or kernel (`kd`) distance: fid5k_full, kd_efficientnet_lite0.

    Only distances on Inception are called FID and KID; they state the number of pictures.
    """
    on_inception, elsewhere = _DISTANCES[family]
    if config.extractor not in _INCEPTIONS:
        return f"{elsewhere}_{config.extractor}"
    thousands, rest = divmod(config.num_fakes, 1000)
    return f"{on_inception}{config.num_fakes if rest else f'{thousands}k'}_full"


def manifold_name(quantity: str) -> str:
    """The name of precision, recall, density or coverage: precision_k5."""
    return f"{quantity}_k{NEIGHBOURS}"


def error_name(name: str) -> str:
    """Of the standard error of a metric, from the samples of both generated and real pictures."""
    return f"{name}_se"


def fakes_error_name(name: str) -> str:
    """Of the standard error from the generated pictures alone: for comparing on one reference."""
    return f"{name}_se_fakes"


def searchable(config: EvalConfig) -> dict[str, Goal]:
    """The metrics that a search can optimise, the first of them by default; and which way."""
    distances: dict[str, Goal] = {metric_name(config, family): "minimize" for family in _DISTANCES}
    manifold = ("precision", "recall", "density", "coverage")
    return distances | {manifold_name(quantity): "maximize" for quantity in manifold}


def full_name(name: str, config: EvalConfig) -> str:
    """`name`, or what it is short for: "fid" and "kid" on Inception."""
    if config.extractor in _INCEPTIONS:
        short = {on: metric_name(config, family) for family, (on, _) in _DISTANCES.items()}
        return short.get(name, name)
    return name


def early_name(name: str) -> str:
    """The name of the same metric in a cheap evaluation, which no full one is compared with."""
    return "early/" + _COUNTED.sub(r"\1", name)


def value_of(row: Mapping[str, Any], name: str, missing: float | None = None) -> float | None:
    """A row's value of a metric, full or, in a row of a cheap evaluation, early; or `missing`."""
    value = row.get(name, row.get(early_name(name), missing))
    return None if value is None else float(value)
