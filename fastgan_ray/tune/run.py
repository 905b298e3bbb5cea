"""A search: what its trials are, and what is made of them."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import RenderableType

from fastgan_ray.config.schema import RunConfig
from fastgan_ray.errors import UserError
from fastgan_ray.report.front import front_on_terminal
from fastgan_ray.search.priors import Prior, load_priors
from fastgan_ray.search.space import sample
from fastgan_ray.search.spec import SearchSpec, base_config, run_config, start_point
from fastgan_ray.tune.experiment import Experiment, TuneOptions, conduct
from fastgan_ray.tune.preflight import rooted
from fastgan_ray.tune.results import Results
from fastgan_ray.tune.schedulers import make_scheduler
from fastgan_ray.tune.searcher import StudySearcher
from fastgan_ray.tune.trainable import Objective, train_objective

PROBES = 64


def run_search(
    spec: SearchSpec, options: TuneOptions, objective: Objective = train_objective
) -> Path:
    """Run, or with `resume` go on with, a search; returns its folder, which has summary.json.

    UserError as `conduct` has it. Trials that go wrong are results, not errors.
    """
    longest = longest_kimg(spec)
    priors = _priors(spec, options)

    def make_searcher(folder: Path, at_once: int, resuming: bool) -> StudySearcher:
        journal = folder / "study.journal"
        if not resuming:
            journal.unlink(missing_ok=True)  # of a search killed before it had begun
        return StudySearcher(spec, journal, at_once, configure, priors)

    search = Experiment(
        kind="search",
        name=spec.name,
        text=spec.text,
        choices=spec.overrides,
        metric=spec.metric,
        trials=spec.run_cap,
        longest_kimg=longest,
        inputs=[base_config(spec)],
        likely=probe(spec),
        account="summary.json",
        make_searcher=make_searcher,
        make_scheduler=lambda trials: make_scheduler(spec, longest, trials),
        make_ledger=lambda folder: Results(folder, spec),
        conclude=conclude,
    )
    return conduct(search, options, objective)


def _priors(spec: SearchSpec, options: TuneOptions) -> list[Prior]:
    if options.source is None:
        return []
    if options.resume:
        raise UserError("--from: what is resumed has its start already; leave --from out")
    return load_priors(options.source, spec)


def conclude(summary: dict[str, Any]) -> list[RenderableType]:
    """What is said at the end of a search: the verdict, what to beware of, the front if any."""
    best = summary["best"] or {"trial_id": None}
    warnings = [one["warning"] for one in summary["trials"] if one["trial_id"] == best["trial_id"]]
    said = [summary["verdict"], *(f"Warning: {text}" for text in warnings if text)]
    return [*said, *front_on_terminal(summary)]


def configure(spec: SearchSpec, point: Mapping[str, Any]) -> RunConfig:
    """The configuration of a trial, with the pictures' path good in any working directory."""
    return rooted(run_config(spec, point))


def probe(spec: SearchSpec) -> list[RunConfig]:
    """The default and some random configurations of the space."""
    rng = random.Random(0)
    points = [start_point(spec), *(sample(spec.space, rng) for _ in range(PROBES))]
    configs = []
    for point in points:
        with contextlib.suppress(UserError):  # values that do not go together: never a trial
            configs.append(run_config(spec, point))
    return configs


def longest_kimg(spec: SearchSpec) -> float:
    """The length of the longest trial that the space allows."""
    for parameter in spec.space:
        if parameter.name == "train.total_kimg":
            return max(parameter.high, *(v for v in parameter.values if isinstance(v, int | float)))
    return base_config(spec).train.total_kimg
