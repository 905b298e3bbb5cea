"""SearchSpec: what a search file says, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fastgan_ray.config.schema import RunConfig
from fastgan_ray.search.space import SearchSpace


@dataclass(frozen=True)
class Metric:
    """What the search optimises, under the name that the trainer reports (`fid5k_full`)."""

    name: str
    goal: Literal["minimize", "maximize"] = "minimize"
    target: float | None = None


@dataclass(frozen=True)
class EarlyTerminate:
    """Successive halving: first rung at `min_iter` kimg, each next one `eta` times later."""

    min_iter: float
    eta: float = 3.0


@dataclass(frozen=True)
class SearchSpec:
    """A search: which configurations, how they are chosen and compared, and when it ends.

    `base` (flat dotted keys) is fixed and has the overrides in it, `space` is searched, every other
    field has its published default. `text` and `overrides` rebuild it (`spec_from_text`).
    """

    name: str
    method: Literal["grid", "random", "bayes"]
    metric: Metric
    run_cap: int
    early_terminate: EarlyTerminate | None
    base: dict[str, Any]
    space: SearchSpace
    seed: int
    description: str
    text: str
    overrides: dict[str, Any]


def load_search(path: str | Path, overrides: Mapping[str, Any] | None = None) -> SearchSpec:
    """The search in a YAML file; UserError with every fault of it, each with its line.

    `overrides` (flat dotted keys) replace base values and searched parameters of the same name.
    """
    raise NotImplementedError


def spec_from_text(text: str, name: str, overrides: Mapping[str, Any] | None = None) -> SearchSpec:
    """`load_search` of a file's text; `name` is what error messages call it."""
    raise NotImplementedError


def base_config(spec: SearchSpec) -> RunConfig:
    """The configuration with nothing searched: published defaults under the file's base."""
    raise NotImplementedError


def run_config(spec: SearchSpec, point: Mapping[str, Any]) -> RunConfig:
    """The configuration of one trial; UserError if the point's values do not go together."""
    raise NotImplementedError
