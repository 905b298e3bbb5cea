"""The metrics of trained generators against a data set, with their protocol."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fastgan_ray.config.override import override
from fastgan_ray.config.schema import ModelConfig, RunConfig
from fastgan_ray.data.source import Source, open_source
from fastgan_ray.errors import UserError
from fastgan_ray.latent.load import load_model
from fastgan_ray.metrics.evaluate import evaluate
from fastgan_ray.metrics.extractors import Extractor, load_extractor
from fastgan_ray.metrics.names import metric_name
from fastgan_ray.metrics.protocol import protocol, require_same_protocol
from fastgan_ray.metrics.reference import load_reference
from fastgan_ray.train.device import choose_device

MEND = "Measure them alike: --data and --set eval.FIELD=VALUE replace what each brings along."


def rank(checkpoints: Sequence[Path], overrides: Mapping[str, Any]) -> list[dict[str, Any]]:
    """{"checkpoint", "metrics": {name: value}, "protocol"} of each, the best distance first.

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
    extractor_of, source_of = functools.cache(_extractor), functools.cache(open_source)
    extractors = {
        name: extractor_of(c.eval.extractor, c.train.device) for name, c in configs.items()
    }
    sources = {
        name: source_of(config.data.model_copy(update={"limit": None}))
        for name, config in configs.items()
    }
    protocols = {name: protocol(configs[name], extractors[name], sources[name]) for name in configs}
    require_same_protocol(protocols, MEND)
    results = [
        {
            "checkpoint": name,
            "metrics": measure(generator, configs[name], extractors[name], sources[name]),
            "protocol": protocols[name],
        }
        for name, (generator, _, _) in models.items()
    ]
    distance = metric_name(next(iter(configs.values())).eval)
    return sorted(results, key=lambda result: result["metrics"][distance])


def measure(
    generator: nn.Module, config: RunConfig, extractor: Extractor, source: Source
) -> dict[str, float]:
    """Every metric of a generator in eval mode, by name."""
    generator.to(extractor.device)

    def sample(z_BZ: Tensor) -> Tensor:
        with torch.inference_mode():
            return torch.as_tensor(generator(z_BZ)[0])

    reference = load_reference(source, config, extractor)
    nz = config.model.nz
    return evaluate(sample, nz, reference, extractor, config.eval, extractor.device).values


def _extractor(name: str, device: str) -> Extractor:
    return load_extractor(name, choose_device(device))


def _config(
    name: str, model: ModelConfig, stored: RunConfig | None, overrides: Mapping[str, Any]
) -> RunConfig:
    config = override(stored or RunConfig(model=model), overrides)
    if config.data.path is None:
        raise UserError(f"{name}: it names no data set to be measured against; give --data")
    return config
