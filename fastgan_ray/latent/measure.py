"""The metric of a trained generator against a data set, with its protocol."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fastgan_ray.config.override import override
from fastgan_ray.config.schema import RunConfig
from fastgan_ray.data.source import open_source
from fastgan_ray.errors import UserError
from fastgan_ray.latent.load import load_model
from fastgan_ray.metrics.evaluate import evaluate
from fastgan_ray.metrics.extractors import load_extractor
from fastgan_ray.metrics.protocol import protocol
from fastgan_ray.metrics.reference import reference_features
from fastgan_ray.train.device import choose_device


def measure(checkpoint: Path, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """{"metrics": {name: value}, "protocol": {...}} of a checkpoint of any form.

    Data and protocol are those of the checkpoint's own run unless `overrides` (dotted keys) say
    otherwise; a published checkpoint has none, so it needs `data.path`.
    """
    generator, model, stored = load_model(checkpoint)
    own = stored or RunConfig(model=model)
    if built := [key for key in overrides if key.startswith("model.")]:
        raise UserError(f"--set: {', '.join(built)}: a trained generator's model cannot be changed")
    config = override(own, overrides)
    if config.data.path is None:
        raise UserError(f"{checkpoint}: it names no data set to be measured against; give --data")
    device = choose_device(config.train.device)
    extractor = load_extractor(config.eval.extractor, device)
    source = open_source(config.data.model_copy(update={"limit": None}))
    reference = reference_features(source, config.data, extractor)
    generator.to(device)

    def sample(z_BZ: Tensor) -> Tensor:
        with torch.inference_mode():
            return torch.as_tensor(generator(z_BZ.to(device))[0])

    values = evaluate(sample, model.nz, reference, extractor, config.eval, device)
    return {"metrics": values, "protocol": protocol(config, extractor, source)}
