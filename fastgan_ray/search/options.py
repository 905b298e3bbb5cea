"""A search file beside its `parameters`: metric, early stopping, and the plain options."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from fastgan_ray.config.schema import EvalConfig, RunConfig
from fastgan_ray.config.yaml_tree import Document, Value, shown, suggestion
from fastgan_ray.metrics.names import Goal, full_name, same_metric, searchable
from fastgan_ray.search.grammar import is_int, is_number

Method = Literal["grid", "random", "bayes"]

KEYS = (
    "name",
    "description",
    "method",
    "metric",
    "run_cap",
    "early_terminate",
    "seed",
    "base",
    "parameters",
)
# Keys of W&B's sweeps that mean nothing here.
REFUSED_OF_WANDB = {
    "program": "the program is always this one",
    "command": "the program is always this one",
    "controller": "it runs here, not on W&B's server",
    "job": "it runs here, not on W&B's server",
    "image_uri": "it runs here, not on W&B's server",
    "entity": "set WANDB_ENTITY instead",
    "project": "set WANDB_PROJECT instead",
}
REFUSED = {
    **REFUSED_OF_WANDB,
    "baseline": "it belongs to an ablation, not to a search",
    "arms": "it belongs to an ablation, not to a search",
    "seeds": "it belongs to an ablation, not to a search; `seed` is the search's own",
}


@dataclass(frozen=True)
class Metric:
    """What the search optimises, under the name that the trainer reports (`fid5k_full`).

    `target`: the search ends once a trial is as good as this; None = it runs to its cap.
    """

    name: str
    goal: Goal = "minimize"
    target: float | None = None


@dataclass(frozen=True)
class EarlyTerminate:
    """Successive halving: trials are compared at `min_iter` kimg, and each `eta` times later.

    At each of these rungs the best 1/eta go on; none lies at or past `max_iter` kimg (None = the
    trial's length). A trial within `tolerance` standard errors of its value from the cut goes on.
    """

    min_iter: float
    eta: float = 3.0
    max_iter: float | None = None
    tolerance: float = 0.0

    def rungs(self, total_kimg: float) -> list[float]:
        """The kimg at which a trial of that length is compared."""
        end = min(total_kimg, self.max_iter or total_kimg)
        rungs, rung = [], self.min_iter
        while rung < end:
            rungs.append(rung)
            rung *= self.eta
        return rungs


def check_keys(
    document: Document, what: str, keys: Sequence[str], refused: Mapping[str, str]
) -> None:
    """Note top-level keys that `what` ("a search") has not; of `refused` ones, why."""
    for key in document.data:
        if key in refused:
            text = f"{key}: is not supported: {refused[key]}"
        elif key not in keys:
            hint = suggestion(key, keys) or f"; the keys are {', '.join(keys)}"
            text = f"{key}: is no key of {what}{hint}"
        else:
            continue
        document.faults.add(document.line(key), text)


def read_method(document: Document) -> Method:
    """`method`, random where it is at fault."""
    for method in ("grid", "random", "bayes"):
        if document.data.get("method") == method:
            return method
    given = document.data.get("method")
    rule = f"must be grid, random or bayes (got {shown(given)})"
    _note(document, ("method",), rule + suggestion(str(given), ("grid", "random", "bayes")))
    return "random"


def read_name(document: Document, default: str) -> str:
    """`name`, which names a folder."""
    if "name" not in document.data:
        return re.sub(r"[^A-Za-z0-9._-]+", "-", default).strip(".-_") or "unnamed"
    name = document.data["name"]
    if isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        return name
    rule = "must be 1 to 100 letters, digits, '.', '_', '-', as it names a folder"
    _note(document, ("name",), f"{rule} (got {shown(name)})")
    return default


def read_description(document: Document) -> str:
    """`description`, or else the comment at the top of the file."""
    given = document.data.get("description")
    if isinstance(given, str):
        return given
    if given is not None:
        _note(document, ("description",), f"must be text (got {shown(given)})")
    lines = []
    for line in document.text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("#").strip())
    return "\n".join(lines).strip()


def read_whole(document: Document, key: str, least: int) -> int | None:
    """A whole number of at least `least` and under 2**31, or None where it is left out."""
    value = document.data.get(key)
    if value is None and key not in document.data:
        return None
    if is_int(value) and least <= value < 2**31:
        return value
    _note(document, (key,), f"must be a whole number of at least {least} (got {shown(value)})")
    return None


def read_metric(document: Document, base: RunConfig) -> Metric:
    """`metric`, named as the trainer reports it under `base`; `fid` and `kid` are short forms."""
    goals = searchable(base.eval)
    default = Metric(next(iter(goals)))
    given = document.data.get("metric")
    if not isinstance(given, dict):
        rule = f"must be a mapping such as {{name: {default.name}, goal: minimize}}"
        _note(document, ("metric",), f"{rule} (got {shown(given)})")
        return default
    _only(document, "metric", given, ("name", "goal", "target"))
    name = full_name(str(given.get("name")), base.eval)
    if name not in goals:
        _note(document, ("metric", "name"), _metric_rule(given.get("name"), goals, base))
        return default
    goal, target = given.get("goal", goals[name]), given.get("target")
    if goal != goals[name]:
        side = "smaller" if goals[name] == "minimize" else "greater"
        rule = f"must be {goals[name]}, as {side} is better with {name} (got {shown(goal)})"
        _note(document, ("metric", "goal"), rule)
    if target is not None and not is_number(target):
        _note(document, ("metric", "target"), f"must be a finite number (got {shown(target)})")
        target = None
    return Metric(name, goals[name], target)


def follow_protocol(metric: Metric, before: EvalConfig, after: EvalConfig) -> Metric:
    """The same kind of metric under another protocol; its target meant the old one."""
    name = same_metric(metric.name, before, after)
    assert name is not None
    return metric if name == metric.name else replace(metric, name=name, target=None)


def _metric_rule(name: Value, goals: Mapping[str, Goal], base: RunConfig) -> str:
    names = ", ".join(goals)
    rule = f"must be one of {names}: what base's eval settings measure (got {shown(name)})"
    text = str(name)
    if text.startswith(("fid", "kid")) and base.eval.extractor == next(iter(goals))[3:]:
        return f"{rule}; for {text[:3].upper()} set eval.extractor: inception"
    if text.startswith(("fd_", "kd_")):
        return f"{rule}; for another network set eval.extractor: {text[3:]}"
    if text.startswith(("fid", "kid")):
        return f"{rule}; {text[:3]} alone means the same, and eval.num_fakes changes it"
    return rule + suggestion(text, (*goals, "fid", "kid"))


def read_early_terminate(document: Document, base: RunConfig | None) -> EarlyTerminate | None:
    """`early_terminate`, W&B's hyperband in kimg: min_iter, or max_iter with s brackets."""
    given = document.data.get("early_terminate")
    if given is None:
        return None
    if not isinstance(given, dict):
        rule = "must be a mapping such as {type: hyperband, min_iter: 40}"
        _note(document, ("early_terminate",), f"{rule} (got {shown(given)})")
        return None
    keys = ("type", "min_iter", "eta", "max_iter", "s", "strict", "tolerance")
    _only(document, "early_terminate", given, keys)
    if given.get("type") != "hyperband":
        rule = f"must be hyperband (got {shown(given.get('type'))})"
        _note(document, ("early_terminate", "type"), rule)
    if given.get("strict", False) is not False:
        rule = "is not supported: only the best 1/eta go on at each rung anyway; leave it out"
        _note(document, ("early_terminate", "strict"), rule)
    numbers = _early_numbers(document, given)
    if numbers is None:
        return None
    first = numbers.min_iter
    if base is not None and first >= base.train.total_kimg:
        rule = "must be less than train.total_kimg, or no trial is ever stopped"
        text = f"{rule} (got first rung {first:g}, total_kimg {base.train.total_kimg:g})"
        _note(document, ("early_terminate", "min_iter"), text)
    return numbers


def _early_numbers(document: Document, given: Mapping[str, Any]) -> EarlyTerminate | None:
    limits = {
        "min_iter": (1e-6, 1e9),
        "max_iter": (1e-6, 1e9),
        "eta": (1.5, 100),
        "tolerance": (0, 10),
    }
    for key, (least, most) in limits.items():
        if key in given and not (is_number(given[key]) and least <= given[key] <= most):
            rule = f"must be a number from {least:g} to {most:g} (got {shown(given[key])})"
            _note(document, ("early_terminate", key), rule)
            return None
    eta, last = float(given.get("eta", 3)), given.get("max_iter")
    tolerance = float(given.get("tolerance", 0))
    if "s" in given:
        s = given["s"]
        if not is_int(s) or not 1 <= s <= 20 or last is None or "min_iter" in given:
            rule = "is a number of brackets (1 to 20) that goes with max_iter, without min_iter"
            _note(document, ("early_terminate", "s"), f"{rule} (got {shown(s)})")
            return None
        return EarlyTerminate(last / eta**s, eta, float(last), tolerance)
    if "min_iter" not in given:
        rule = "needs min_iter, the kimg at which trials are first compared (or max_iter with s)"
        _note(document, ("early_terminate",), rule)
        return None
    end = None if last is None else float(last)
    return EarlyTerminate(float(given["min_iter"]), eta, end, tolerance)


def _only(
    document: Document, section: str, given: Mapping[str, Any], keys: tuple[str, ...]
) -> None:
    for key in given:
        if key not in keys:
            hint = suggestion(key, keys) or f"; the keys are {', '.join(keys)}"
            _note(document, (section, key), f"is no key of {section}{hint}")


def _note(document: Document, keys: tuple[str, ...], rule: str) -> None:
    document.faults.add(document.line(*keys), f"{'.'.join(keys)}: {rule}")
