"""A search file beside its `parameters`: metric, early stopping, and the plain options."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from fastgan_ray.config.schema import RunConfig
from fastgan_ray.config.yaml_tree import Document, Value, shown, suggestion
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
REFUSED = {
    "program": "the program is always this one",
    "command": "the program is always this one",
    "controller": "the search runs here, not on W&B's server",
    "job": "the search runs here, not on W&B's server",
    "image_uri": "the search runs here, not on W&B's server",
    "entity": "set WANDB_ENTITY instead",
    "project": "set WANDB_PROJECT instead",
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
    goal: Literal["minimize", "maximize"] = "minimize"
    target: float | None = None


@dataclass(frozen=True)
class EarlyTerminate:
    """Successive halving: trials are compared at `min_iter` kimg, and each `eta` times later.

    At each of these rungs the best 1/eta go on; none lies at or past `max_iter` kimg (None = the
    trial's length).
    """

    min_iter: float
    eta: float = 3.0
    max_iter: float | None = None

    def rungs(self, total_kimg: float) -> list[float]:
        """The kimg at which a trial of that length is compared."""
        end = min(total_kimg, self.max_iter or total_kimg)
        rungs, rung = [], self.min_iter
        while rung < end:
            rungs.append(rung)
            rung *= self.eta
        return rungs


def check_keys(document: Document) -> None:
    """Note top-level keys that a search has not."""
    for key in document.data:
        if key in REFUSED:
            text = f"{key}: is not supported: {REFUSED[key]}"
        elif key not in KEYS:
            hint = suggestion(key, KEYS) or f"; the keys are {', '.join(KEYS)}"
            text = f"{key}: is no key of a search{hint}"
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
        return re.sub(r"[^A-Za-z0-9._-]+", "-", default).strip(".-_") or "search"
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
    """`metric`, named as the trainer reports it under `base`; `fid` is short for FID."""
    # Imports torch, which whatever only reads YAML can do without.
    from fastgan_ray.metrics.protocol import metric_name

    actual = metric_name(base.eval)
    given = document.data.get("metric")
    if not isinstance(given, dict):
        rule = f"must be a mapping such as {{name: {actual}, goal: minimize}}"
        _note(document, ("metric",), f"{rule} (got {shown(given)})")
        return Metric(actual)
    _only(document, "metric", given, ("name", "goal", "target"))
    name, goal, target = given.get("name"), given.get("goal", "minimize"), given.get("target")
    if name not in (actual, "fid" if base.eval.extractor == "inception" else actual):
        _note(document, ("metric", "name"), _metric_rule(name, actual, base))
    if goal != "minimize":
        rule = f"must be minimize, as smaller is better with {actual} (got {shown(goal)})"
        _note(document, ("metric", "goal"), rule)
    if target is not None and not is_number(target):
        _note(document, ("metric", "target"), f"must be a finite number (got {shown(target)})")
        target = None
    return Metric(actual, "minimize", target)


def _metric_rule(name: Value, actual: str, base: RunConfig) -> str:
    rule = f"must be {actual}, which is what base's eval settings measure (got {shown(name)})"
    text = str(name)
    if text.startswith("fid") and base.eval.extractor != "inception":
        return f"{rule}; for FID set eval.extractor: inception"
    if text.startswith("fd_") and text != actual:
        return f"{rule}; for another network set eval.extractor: {text.removeprefix('fd_')}"
    if text.startswith("fid"):
        return f"{rule}; fid alone means the same, and eval.num_fakes changes it"
    return rule + suggestion(text, ("fid", actual))


def read_early_terminate(document: Document, base: RunConfig | None) -> EarlyTerminate | None:
    """`early_terminate`, W&B's hyperband in kimg: min_iter, or max_iter with s brackets."""
    given = document.data.get("early_terminate")
    if given is None:
        return None
    if not isinstance(given, dict):
        rule = "must be a mapping such as {type: hyperband, min_iter: 40}"
        _note(document, ("early_terminate",), f"{rule} (got {shown(given)})")
        return None
    keys = ("type", "min_iter", "eta", "max_iter", "s", "strict")
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
    for key, least, most in (("min_iter", 1e-6, 1e9), ("max_iter", 1e-6, 1e9), ("eta", 1.5, 100)):
        if key in given and not (is_number(given[key]) and least <= given[key] <= most):
            rule = f"must be a number from {least:g} to {most:g} (got {shown(given[key])})"
            _note(document, ("early_terminate", key), rule)
            return None
    eta, last = float(given.get("eta", 3)), given.get("max_iter")
    if "s" in given:
        s = given["s"]
        if not is_int(s) or not 1 <= s <= 20 or last is None or "min_iter" in given:
            rule = "is a number of brackets (1 to 20) that goes with max_iter, without min_iter"
            _note(document, ("early_terminate", "s"), f"{rule} (got {shown(s)})")
            return None
        return EarlyTerminate(last / eta**s, eta, float(last))
    if "min_iter" not in given:
        rule = "needs min_iter, the kimg at which trials are first compared (or max_iter with s)"
        _note(document, ("early_terminate",), rule)
        return None
    return EarlyTerminate(float(given["min_iter"]), eta, None if last is None else float(last))


def _only(
    document: Document, section: str, given: Mapping[str, Any], keys: tuple[str, ...]
) -> None:
    for key in given:
        if key not in keys:
            hint = suggestion(key, keys) or f"; the keys are {', '.join(keys)}"
            _note(document, (section, key), f"is no key of {section}{hint}")


def _note(document: Document, keys: tuple[str, ...], rule: str) -> None:
    document.faults.add(document.line(*keys), f"{'.'.join(keys)}: {rule}")
