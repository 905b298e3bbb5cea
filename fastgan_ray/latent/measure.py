"""The metrics of trained generators against a data set, with their protocol."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fastgan_ray.config.override import override
from fastgan_ray.config.run_config import ModelConfig, RunConfig
from fastgan_ray.data.source import Source, open_source
from fastgan_ray.errors import UserError
from fastgan_ray.latent.load import load_model
from fastgan_ray.metrics.evaluate import evaluate
from fastgan_ray.metrics.extractors import Extractor, load_extractor
from fastgan_ray.metrics.names import Goal, full_name, metric_name, same_metric, searchable
from fastgan_ray.metrics.protocol import protocol, require_same_protocol
from fastgan_ray.metrics.reference import load_reference
from fastgan_ray.progress import Track, silently
from fastgan_ray.train.device import choose_device

MEND = "Measure them alike: --data and --set eval.FIELD=VALUE replace what each brings along."


def rank(
    checkpoints: Mapping[Path, str | None],
    overrides: Mapping[str, Any],
    by: str | None = None,
    track: Track = silently,
) -> list[dict[str, Any]]:
    """{"checkpoint", "by", "metrics": {name: value}, "protocol"} of each, the best first.

    By the metric `by` ("fid" and "kid" are short forms); without it by that of the searches they
    come from, which `checkpoints` has, if these agree; else by the Frechet distance.
    Data and protocol are those of each checkpoint's own run unless `overrides` (dotted keys) say
    otherwise; a published checkpoint has none, so it needs `data.path`. UserError, before anything
    is measured, where two would be measured by different protocols.
    """
    if built := [key for key in overrides if key.startswith("model.")]:
        raise UserError(f"--set: {', '.join(built)}: a trained generator's model cannot be changed")
    models = {str(path): load_model(path) for path in checkpoints}
    configs = {
        name: _config(name, model, stored, overrides) for name, (_, model, stored) in models.items()
    }
    # Mostly they share all of it: nothing is loaded twice.
    extractor_of = functools.cache(_extractor)
    source_of = functools.cache(functools.partial(open_source, track=track))
    extractors = {
        name: extractor_of(c.eval.extractor, c.train.device) for name, c in configs.items()
    }
    sources = {
        name: source_of(config.data.model_copy(update={"limit": None}))
        for name, config in configs.items()
    }
    protocols = {name: protocol(configs[name], extractors[name], sources[name]) for name in configs}
    require_same_protocol(protocols, MEND)
    name, goal = _order(by, checkpoints, models, configs)
    results = [
        {
            "checkpoint": path,
            "by": name,
            "metrics": measure(generator, configs[path], extractors[path], sources[path], track),
            "protocol": protocols[path],
        }
        for path, (generator, _, _) in models.items()
    ]
    # What too few pictures leave unmeasured comes last.
    worst = math.inf if goal == "minimize" else -math.inf
    return sorted(
        results,
        key=lambda result: result["metrics"].get(name, worst),
        reverse=goal == "maximize",
    )


def _order(
    by: str | None,
    searched: Mapping[Path, str | None],
    models: Mapping[str, tuple[nn.Module, ModelConfig, RunConfig | None]],
    configs: Mapping[str, RunConfig],
) -> tuple[str, Goal]:
    """The metric that ranks, under the protocol of `configs`, and which way."""
    config = next(iter(configs.values())).eval
    goals = searchable(config)
    if by is not None:
        chosen = full_name(by, config)
        if chosen not in goals:
            raise UserError(f"--by: must be one of {', '.join(goals)} (got {by})")
        return chosen, goals[chosen]
    found = {
        same_metric(metric, stored.eval, configs[str(path)].eval)
        for path, metric in searched.items()
        if metric and (stored := models[str(path)][2])
    }
    name = (found.pop() if len(found) == 1 else None) or metric_name(config)
    return name, goals[name]


def measure(
    generator: nn.Module,
    config: RunConfig,
    extractor: Extractor,
    source: Source,
    track: Track = silently,
) -> dict[str, float]:
    """Every metric of a generator in eval mode, by name."""
    generator.to(extractor.device)

    def sample(z_BZ: Tensor) -> Tensor:
        with torch.inference_mode():
            return torch.as_tensor(generator(z_BZ)[0])

    reference = load_reference(source, config, extractor, track)
    found = evaluate(
        sample,
        config.model.nz,
        reference,
        extractor,
        config.eval,
        extractor.device,
        track=track,
    )
    return found.values


def _extractor(name: str, device: str) -> Extractor:
    return load_extractor(name, choose_device(device))


def _config(
    name: str, model: ModelConfig, stored: RunConfig | None, overrides: Mapping[str, Any]
) -> RunConfig:
    config = override(stored or RunConfig(model=model), overrides)
    if config.data.path is None:
        raise UserError(f"{name}: it names no data set to be measured against; give --data")
    return config
