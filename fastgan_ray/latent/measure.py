"""Measure the metrics of trained generators, and rank the generators (`evaluate`)."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from fastgan_ray.config.data import DataConfig
from fastgan_ray.config.evaluation import EvalConfig
from fastgan_ray.config.feature_networks import spoilt_by_earlier
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.data.sets import PictureSets, open_sets
from fastgan_ray.errors import UserError
from fastgan_ray.latent.load import d_features_of, data_config, load_model
from fastgan_ray.metrics.evaluate import evaluate
from fastgan_ray.metrics.extractors import Extractor, load_extractor
from fastgan_ray.metrics.names import Goal, full_name, run_metric, same_metric, searchable
from fastgan_ray.metrics.protocol import protocol, require_same_protocol
from fastgan_ray.metrics.reference import load_sets
from fastgan_ray.progress import Track, silently
from fastgan_ray.train.device import choose_device
from fastgan_ray.train.find_checkpoint import Which
from fastgan_ray.train.threads import cpu_threads

MEND = "Use --data and --set eval.FIELD=VALUE to measure all checkpoints in the same way."


class Candidate(NamedTuple):
    """A generator, and everything else that affects its metrics: settings, network and data."""

    name: str
    generator: nn.Module
    config: RunConfig
    extractor: Extractor
    sets: PictureSets
    searched: str | None
    """The metric that the generator's search optimised; None if unknown.

    The name belongs to the evaluation settings of `config`; the search may have used another name
    for the same metric."""

    def protocol(self) -> dict[str, Any]:
        """Return the evaluation protocol of the generator (see `metrics.protocol`)."""
        return protocol(self.config, self.extractor, self.sets.reference)


def rank(
    checkpoints: Mapping[Path, str | None],
    overrides: Mapping[str, Any],
    by: str | None = None,
    track: Track = silently,
    which: Which = "best",
) -> list[dict[str, Any]]:
    """Measure checkpoints and return a list of results, best checkpoint first.

    A result is a dict: "checkpoint" is the path, "by" is the name of the ranking metric, "metrics"
    is {name: value}, and "protocol" is the evaluation protocol. The keys of `checkpoints` are
    paths. Each value is the metric that the checkpoint's search optimised, or None if this metric
    is unknown. For the folder of a run, `which` chooses the best or the last checkpoint.

    `by` is the ranking metric (a full name, "fid" or "kid"). If `by` is None, the metric depends on
    the searches. If all known search metrics are the same, this metric is used. If they differ or
    none is known, the setting `eval.metric` of the first checkpoint is used.

    Each checkpoint is measured with the data and settings of its training, changed by `overrides`
    {dotted key: value}. Published checkpoints store no data path, so they need "data.path" in
    `overrides`. Raise UserError, before anything is measured, if the evaluation protocols differ.
    """
    candidates = _load(checkpoints, overrides, track, which)
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
    # A metric is missing if there are too few pictures for it: rank the checkpoint last.
    worst = math.inf if goal == "minimize" else -math.inf
    return sorted(
        results,
        key=lambda result: result["metrics"].get(name, worst),
        reverse=goal == "maximize",
    )


def _load(
    checkpoints: Mapping[Path, str | None],
    overrides: Mapping[str, Any],
    track: Track,
    which: Which,
) -> list[Candidate]:
    """Return a Candidate for each checkpoint; load each feature network and data set only once.

    Raise UserError if the metric's feature network was also used to train the generator.
    """
    extractor_of = functools.cache(
        lambda name, device, background, picture_px: load_extractor(
            name, choose_device(device), background, picture_px
        )
    )
    sets_of = functools.cache(functools.partial(_open_sets, track=track))
    models = {path: load_model(path, which) for path in checkpoints}
    configs = {
        path: data_config(str(path), stored, overrides) for path, (_, stored) in models.items()
    }
    for path, config in configs.items():
        if rule := spoilt_by_earlier(d_features_of(path, which), config.model, config.eval):
            raise UserError(f"{path}: {rule}")
    candidates = []
    for path, (generator, stored) in models.items():
        config, metric = configs[path], checkpoints[path]
        searched = same_metric(metric, stored.eval, config.eval) if metric else None
        measuring = config.eval
        extractor = extractor_of(
            measuring.extractor,
            config.train.device,
            config.data.background,
            measuring.picture_px,
        )
        data = config.data.model_copy(update={"limit": None})
        # The training's seed chose the held-out pictures; `eval.seed` may be another one now.
        seed = stored.eval.seed if stored.eval.held_out > 0 else measuring.seed
        sets = sets_of(data, measuring.data, measuring.held_out, seed)
        candidates.append(Candidate(str(path), generator, config, extractor, sets, searched))
    return candidates


def _open_sets(
    data: DataConfig, held_out_path: str | None, held_out: float, seed: int, track: Track
) -> PictureSets:
    settings = {"data": held_out_path, "held_out": held_out, "seed": seed}
    return open_sets(RunConfig(data=data, eval=EvalConfig.model_validate(settings)), track)


def _ranking_metric(by: str | None, candidates: Sequence[Candidate]) -> tuple[str, Goal]:
    """Return the name of the ranking metric, and whether a lower or a higher value is better."""
    config = candidates[0].config.eval
    goals = searchable(config)
    if by is not None:
        name = full_name(by, config)
        if name not in goals:
            raise UserError(f"--by: must be one of {', '.join(goals)} (got {by!r})")
        return name, goals[name]
    searched = {candidate.searched for candidate in candidates if candidate.searched}
    name = searched.pop() if len(searched) == 1 else run_metric(config)[0]
    return name, goals[name]


def measure(candidate: Candidate, track: Track = silently) -> dict[str, float]:
    """Measure all metrics of a generator; return {metric name: value}.

    The number of CPU threads is the same as in the generator's training.
    """
    generator, config, extractor = candidate.generator, candidate.config, candidate.extractor
    generator.to(extractor.device)

    def sample(z_BZ: Tensor) -> Tensor:
        with torch.inference_mode():
            return torch.as_tensor(generator(z_BZ)[0])

    with cpu_threads(config.resources):
        reference = load_sets(candidate.sets, config, extractor, track)
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
