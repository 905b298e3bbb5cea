"""The names of metrics, and whether lower is better (GOALS); read metrics from rows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from fastgan_ray.config.evaluation import EvalConfig

Goal = Literal["minimize", "maximize"]

NO_METRIC = "no metric"  # the name of the metric if eval.extractor is none; there is no value
NEIGHBOURS = 5  # k of precision, recall, density and coverage; the metrics' names contain it
# The names of the Frechet distance, kernel distance and Inception score on the Inception network.
_ON_INCEPTION = {"fd": "fid{count}_full", "kd": "kid{count}_full", "is": "is{count}"}
_SHORT = {"fid": "fd", "kid": "kd"}
# The keys of a trial's record: the value of the last checkpoint; and of the best checkpoint, the
# value on new latents, the kimg, and the value that selected it.
MOMENTS = ("last_value", "best_value", "best_kimg", "selected_value")
# {value of `eval.metric`: goal} of metrics that a search can optimise; the first is the default.
GOALS: dict[str, Goal] = {
    "fd": "minimize",
    "kd": "minimize",
    "precision": "maximize",
    "recall": "maximize",
    "density": "maximize",
    "coverage": "maximize",
}
_MANIFOLD = ("precision", "recall", "density", "coverage")
_INCEPTIONS = ("inception", "inception_pytorch")
_COUNTED = re.compile(r"(fid|kid|is)\d+k?(_full)?")


def metric_name(config: EvalConfig, family: str = "fd") -> str:
    """Return the name of the Frechet distance, the kernel distance or the Inception score.

    `family` is "fd", "kd" or "is" (Inception score). On an Inception network, the name is FID, KID
    or IS with the number of pictures, e.g. fid5k_full. On another network, the name contains the
    network's name, e.g. kd_efficientnet_lite0.
    """
    if config.extractor not in _INCEPTIONS:
        return f"{family}_{config.extractor}"
    thousands, rest = divmod(config.num_fakes, 1000)
    count = str(config.num_fakes) if rest else f"{thousands}k"
    return _ON_INCEPTION[family].format(count=count)


def manifold_name(quantity: str) -> str:
    """Return the full name of precision, recall, density or coverage, such as precision_k5."""
    return f"{quantity}_k{NEIGHBOURS}"


def error_name(name: str) -> str:
    """Return the name of the standard error that treats fakes and reals as random samples.

    `name` is the name of the metric.
    """
    return f"{name}_se"


def fakes_error_name(name: str) -> str:
    """Return the name of the standard error that treats only the fakes as a random sample.

    `name` is the name of the metric. Use this error to compare trials whose reference pictures are
    the same.
    """
    return f"{name}_se_fakes"


def searchable(config: EvalConfig) -> dict[str, Goal]:
    """Return {full name: goal} of all metrics that a search can optimise, the default first."""
    if config.extractor == "none":
        return {}
    return {_name_of(family, config): goal for family, goal in GOALS.items()}


def run_metric(config: EvalConfig) -> tuple[str, Goal]:
    """Return the full name and the goal of the metric that the setting `eval.metric` chooses.

    If there is no feature network (`eval.extractor` is "none"), the name is NO_METRIC.
    """
    if config.extractor == "none":
        return NO_METRIC, "minimize"
    return _name_of(config.metric, config), GOALS[config.metric]


def metric_family(name: str, config: EvalConfig) -> str:
    """Return the value of `eval.metric` that chooses the metric `name`: "fd" for fid5k_full."""
    return next(family for family in GOALS if _name_of(family, config) == name)


def _name_of(family: str, config: EvalConfig) -> str:
    if family in _SHORT.values():
        return metric_name(config, family)
    return manifold_name(family) if family in _MANIFOLD else family


def full_name(name: str, config: EvalConfig) -> str:
    """Return the full name for "fid" and "kid" on an Inception network, e.g. fid5k_full.

    Other names are returned unchanged, and so are all names on another network.
    """
    if config.extractor in _INCEPTIONS and name in _SHORT:
        return metric_name(config, _SHORT[name])
    return name


def shown_name(name: str, config: EvalConfig) -> str:
    """Return the full name of the metric that the short name `name` means with `config`.

    The short names are "fid", "kid" and the values of `eval.metric`. "fid" and "kid" mean the
    Frechet and the kernel distance on any feature network, not only on Inception. Other names are
    returned unchanged. Without a feature network, all names are returned unchanged.
    """
    family = _SHORT.get(name, name)
    return _name_of(family, config) if family in GOALS and config.extractor != "none" else name


def same_metric(name: str, before: EvalConfig, after: EvalConfig) -> str | None:
    """Return the name that a metric has with the settings `after`.

    `name` is the name of the metric with the settings `before`. Return None if a search with
    `before` cannot optimise a metric of this name, or if `after` has no feature network.
    """
    names = zip(searchable(before), searchable(after), strict=False)  # one may be empty
    return next((new for old, new in names if old == name), None)


def early_name(name: str) -> str:
    """Return the name that the metric `name` has in cheap evaluations (`eval.early_fakes`).

    Cheap evaluations use fewer generated pictures. In full evaluations, the metric is called
    `name`.
    """
    return "early/" + _COUNTED.sub(r"\1", name)


def value_of(row: Mapping[str, Any], name: str, missing: float | None = None) -> float | None:
    """Return the value of the metric `name` in `row`, the row of a full or a cheap evaluation.

    Return `missing` if the row has no value. In a cheap evaluation, the metric has another name,
    see `early_name`.
    """
    value = row.get(name, row.get(early_name(name), missing))
    return None if value is None else float(value)


def best_name(name: str) -> str:
    """Return the name under which a run reports the metric `name` of its best checkpoint.

    At its end, a run measures its best checkpoint again, on new latents. Only the last row of a run
    has metrics with such names.
    """
    return f"best/{name}"


def final_value(row: Mapping[str, Any], name: str, missing: float | None = None) -> float | None:
    """Return the value of the metric `name` in `row` that is used to rank trainings.

    If the row has the value of the best checkpoint on new latents, return this value. Otherwise,
    return the value of the row's evaluation, or `missing` if there is no value.
    """
    value = row.get(best_name(name))
    return value_of(row, name, missing) if value is None else float(value)


def without_errors(names: Iterable[str]) -> list[str]:
    """Return the names of metrics, without the names of their standard errors."""
    names = list(names)
    errors = {error for name in names for error in (error_name(name), fakes_error_name(name))}
    return [name for name in names if name not in errors]


def format_with_error(value: float | None, error: float | None) -> str:
    """Format a metric, with its error if known: "219.4 ± 2.1"; "no value" if `value` is None."""
    if value is None:
        return "no value"
    return f"{value:.4g}" + ("" if error is None else f" ± {error:.2g}")
