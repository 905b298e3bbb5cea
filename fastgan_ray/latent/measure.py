"""Measure trained generators on a data set and rank them."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.data.source import Source, open_source
from fastgan_ray.errors import UserError
from fastgan_ray.latent.load import data_config, load_model
from fastgan_ray.metrics.evaluate import evaluate
from fastgan_ray.metrics.extractors import Extractor, load_extractor
from fastgan_ray.metrics.names import Goal, full_name, metric_name, same_metric, searchable
from fastgan_ray.metrics.protocol import protocol, require_same_protocol
from fastgan_ray.metrics.reference import load_reference
from fastgan_ray.progress import Track, silently
from fastgan_ray.train.device import choose_device

MEND = "Use --data and --set eval.FIELD=VALUE to measure all of them in the same way."


class Candidate(NamedTuple):
    """A generator, and all that its metrics depend on."""

    name: str
    generator: nn.Module
    config: RunConfig
    extractor: Extractor
    source: Source
    searched: str | None
    """The metric of the search that it comes from, under this protocol; None if unknown."""

    def protocol(self) -> dict[str, Any]:
        """Return how its metrics are measured."""
        return protocol(self.config, self.extractor, self.source)


def rank(
    checkpoints: Mapping[Path, str | None],
    overrides: Mapping[str, Any],
    by: str | None = None,
    track: Track = silently,
) -> list[dict[str, Any]]:
    """Measure checkpoints: {"checkpoint", "by", "metrics": {name: value}, "protocol"}, best first.

    `checkpoints` has the metric of each one's search, if known. They are ranked by the metric `by`
    ("fid" and "kid" are short forms), else by that of their searches if all have the same one, else
    by the Frechet distance. Data and protocol are those of each checkpoint's run, except for
    `overrides` (dotted keys); a published checkpoint has none and needs `data.path`. UserError,
    before anything is measured, if their protocols differ.
    """
    if fields := [key for key in overrides if key.startswith("model.")]:
        raise UserError(f"--set: {', '.join(fields)}: a trained model cannot be changed")
    candidates = _load(checkpoints, overrides, track)
    require_same_protocol({c.name: c.protocol() for c in candidates}, MEND)
    name, goal = _ranking_metric(by, candidates)
    results = [
        {
            "checkpoint": candidate.name,
            "by": name,
            "metrics": measure(candidate, track),
            "protocol": candidate.protocol(),
        }
        for candidate in candidates
    ]
    # A metric that needs more pictures than there are is missing: last place.
    worst = math.inf if goal == "minimize" else -math.inf
    return sorted(
        results,
        key=lambda result: result["metrics"].get(name, worst),
        reverse=goal == "maximize",
    )


def _load(
    checkpoints: Mapping[Path, str | None], overrides: Mapping[str, Any], track: Track
) -> list[Candidate]:
    """Load generators, and networks and data sets once for all that share them."""
    extractor_of = functools.cache(lambda name, device: load_extractor(name, choose_device(device)))
    source_of = functools.cache(functools.partial(open_source, track=track))
    models = {path: load_model(path) for path in checkpoints}
    configs = {
        path: data_config(str(path), model, stored, overrides)
        for path, (_, model, stored) in models.items()
    }
    candidates = []
    for path, (generator, _, stored) in models.items():
        config, metric = configs[path], checkpoints[path]
        searched = same_metric(metric, stored.eval, config.eval) if metric and stored else None
        extractor = extractor_of(config.eval.extractor, config.train.device)
        source = source_of(config.data.model_copy(update={"limit": None}))
        candidates.append(Candidate(str(path), generator, config, extractor, source, searched))
    return candidates


def _ranking_metric(by: str | None, candidates: Sequence[Candidate]) -> tuple[str, Goal]:
    """Return the metric to rank by, and its goal."""
    config = candidates[0].config.eval
    goals = searchable(config)
    if by is not None:
        name = full_name(by, config)
        if name not in goals:
            raise UserError(f"--by: must be one of {', '.join(goals)} (got {by})")
        return name, goals[name]
    searched = {candidate.searched for candidate in candidates if candidate.searched}
    name = searched.pop() if len(searched) == 1 else metric_name(config)
    return name, goals[name]


def measure(candidate: Candidate, track: Track = silently) -> dict[str, float]:
    """Return every metric of a generator by name."""
    generator, config, extractor = candidate.generator, candidate.config, candidate.extractor
    generator.to(extractor.device)

    def sample(z_BZ: Tensor) -> Tensor:
        with torch.inference_mode():
            return torch.as_tensor(generator(z_BZ)[0])

    reference = load_reference(candidate.source, config, extractor, track)
    evaluation = evaluate(
        sample,
        config.model.nz,
        reference,
        extractor,
        config.eval,
        extractor.device,
        track=track,
    )
    return evaluation.values
