"""What metrics are called: a name states what was measured, how, and of how many pictures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from fastgan_ray.config.run_config import EvalConfig

Goal = Literal["minimize", "maximize"]

NEIGHBOURS = 5  # of precision, recall, density and coverage; part of their names
# What Frechet distance, kernel distance and Inception score are called on Inception alone.
_ON_INCEPTION = {"fd": "fid{count}_full", "kd": "kid{count}_full", "is": "is{count}"}
_SHORT = {"fid": "fd", "kid": "kd"}
_INCEPTIONS = ("inception", "inception_pytorch")
_COUNTED = re.compile(r"(fid|kid|is)\d+k?(_full)?")


def metric_name(config: EvalConfig, family: str = "fd") -> str:
    """Frechet (`fd`) or kernel (`kd`) distance, or score (`is`): fid5k_full, kd_efficientnet_lite0.

    Only on Inception are they FID, KID and Inception score, which state the number of pictures.
    """
    if config.extractor not in _INCEPTIONS:
        return f"{family}_{config.extractor}"
    thousands, rest = divmod(config.num_fakes, 1000)
    count = str(config.num_fakes) if rest else f"{thousands}k"
    return _ON_INCEPTION[family].format(count=count)


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
    distances: dict[str, Goal] = {
        metric_name(config, family): "minimize" for family in _SHORT.values()
    }
    manifold = ("precision", "recall", "density", "coverage")
    return distances | {manifold_name(quantity): "maximize" for quantity in manifold}


def full_name(name: str, config: EvalConfig) -> str:
    """`name`, or what it is short for: "fid" and "kid" on Inception."""
    if config.extractor in _INCEPTIONS and name in _SHORT:
        return metric_name(config, _SHORT[name])
    return name


def same_metric(name: str, before: EvalConfig, after: EvalConfig) -> str | None:
    """What is measured as `name` under one protocol, under another; None if `name` is not of it."""
    names = zip(searchable(before), searchable(after), strict=True)
    return next((new for old, new in names if old == name), None)


def early_name(name: str) -> str:
    """The name of the same metric in a cheap evaluation, which no full one is compared with."""
    return "early/" + _COUNTED.sub(r"\1", name)


def value_of(row: Mapping[str, Any], name: str, missing: float | None = None) -> float | None:
    """A row's value of a metric, full or, in a row of a cheap evaluation, early; or `missing`."""
    value = row.get(name, row.get(early_name(name), missing))
    return None if value is None else float(value)


def without_errors(names: Iterable[str]) -> list[str]:
    """The metrics among names that are not errors of others."""
    given = list(names)
    errors = {name for of in given for name in (error_name(of), fakes_error_name(of))}
    return [name for name in given if name not in errors]


def with_error(row: Mapping[str, float], name: str) -> str:
    """A metric's value as text, with its standard error where the row has one: 219.4 ± 2.1."""
    error = row.get(error_name(name))
    return f"{row[name]:.4g}" + ("" if error is None else f" ± {error:.2g}")
