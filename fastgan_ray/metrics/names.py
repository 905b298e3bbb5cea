"""Build the names of metrics and of their standard errors.

A name says what was measured, how, and on how many pictures.
"""

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
    """Return the name of a Frechet (`fd`) or kernel (`kd`) distance or an Inception score (`is`).

    On Inception the name is FID, KID or IS with the number of pictures, such as fid5k_full. On
    another network the name contains the network's name, such as kd_efficientnet_lite0.
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
    """Return the name of the standard error that treats fakes and reals as random samples."""
    return f"{name}_se"


def fakes_error_name(name: str) -> str:
    """Return the name of the standard error that treats only the fakes as a random sample.

    Use this error to compare trials whose reference pictures are the same.
    """
    return f"{name}_se_fakes"


def searchable(config: EvalConfig) -> dict[str, Goal]:
    """List the metrics that a search can optimise, and their goals; the first is the default."""
    if config.extractor == "none":
        return {}
    return {_name_of(family, config): goal for family, goal in GOALS.items()}


def run_metric(config: EvalConfig) -> tuple[str, Goal]:
    """Return the full name and the goal of the run's metric, `eval.metric`.

    Without a feature network nothing is measured; the name is then NO_METRIC.
    """
    if config.extractor == "none":
        return NO_METRIC, "minimize"
    return _name_of(config.metric, config), GOALS[config.metric]


def metric_family(name: str, config: EvalConfig) -> str:
    """Return the value of `eval.metric` that selects the metric with the full name `name`."""
    return next(family for family in GOALS if _name_of(family, config) == name)


def _name_of(family: str, config: EvalConfig) -> str:
    if family in _SHORT.values():
        return metric_name(config, family)
    return manifold_name(family) if family in _MANIFOLD else family


def full_name(name: str, config: EvalConfig) -> str:
    """Expand the short names "fid" and "kid" (on Inception); return other names unchanged."""
    if config.extractor in _INCEPTIONS and name in _SHORT:
        return metric_name(config, _SHORT[name])
    return name


def shown_name(name: str, config: EvalConfig) -> str:
    """Return the full name of the metric that a short name means in this run.

    The short names are "fid", "kid" and the values of `eval.metric`. On a network that is not an
    Inception, "kid" becomes the kernel distance on that network. Return other names unchanged.
    """
    family = _SHORT.get(name, name)
    return _name_of(family, config) if family in GOALS and config.extractor != "none" else name


def same_metric(name: str, before: EvalConfig, after: EvalConfig) -> str | None:
    """Translate a metric's name from the protocol `before` to the protocol `after`.

    Return None if `before` has no metric of this name.
    """
    names = zip(searchable(before), searchable(after), strict=False)  # one may be empty
    return next((new for old, new in names if old == name), None)


def early_name(name: str) -> str:
    """Return the name of a metric in cheap evaluations, which use fewer generated pictures.

    In full evaluations, the metric has the name `name`.
    """
    return "early/" + _COUNTED.sub(r"\1", name)


def value_of(row: Mapping[str, Any], name: str, missing: float | None = None) -> float | None:
    """Return a metric's value in the row of an evaluation; `missing` if the row has no value.

    The evaluation may be full or cheap (see `early_name`).
    """
    value = row.get(name, row.get(early_name(name), missing))
    return None if value is None else float(value)


def best_name(name: str) -> str:
    """Return the name under which a run reports the metric `name` of its best checkpoint.

    At its end, a run measures its best checkpoint again, on new latents. Only the run's last report
    has metrics with such names.
    """
    return f"best/{name}"


def final_value(row: Mapping[str, Any], name: str, missing: float | None = None) -> float | None:
    """Read the metric that ranks trainings from a row of reported metrics.

    If the row has the value of the best checkpoint, measured again on new latents, this value is
    returned. Otherwise the value of the evaluation itself is returned.
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
