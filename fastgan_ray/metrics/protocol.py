"""What two numbers must share to be compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastgan_ray.config.schema import EvalConfig, RunConfig
from fastgan_ray.data.source import Source
from fastgan_ray.metrics.features import Extractor

_WORDS = {
    "metric": "metric",
    "extractor": "feature network",
    "weights_sha256": "feature network's weights",
    "resize": "resizing",
    "reference": "reference pictures",
    "reference_count": "number of reference pictures",
    "fit": "fit of pictures that are not square",
    "background": "background colour",
    "num_fakes": "number of generated pictures",
    "eval_seed": "seed of the latents",
}


def metric_name(config: EvalConfig) -> str:
    """The metric's name, which states its protocol: fid5k_full, fid256_full, fd_efficientnet_lite0.

    Only the Frechet distance on Inception is called FID.
    """
    if config.extractor != "inception":
        return f"fd_{config.extractor}"
    thousands, rest = divmod(config.num_fakes, 1000)
    return f"fid{config.num_fakes}_full" if rest else f"fid{thousands}k_full"


def protocol(config: RunConfig, extractor: Extractor, source: Source) -> dict[str, str | int]:
    """The fingerprint that a number carries: JSON-able, and equal where numbers compare."""
    return {
        "metric": metric_name(config.eval),
        "extractor": extractor.name,
        "weights_sha256": extractor.weights_sha256[:16],
        "resize": extractor.resize,
        "reference": source.digest[:16],
        "reference_count": len(source),
        "fit": config.data.fit,
        "background": config.data.background.lower(),
        "num_fakes": config.eval.num_fakes,
        "eval_seed": config.eval.seed,
    }


def same_protocol(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """How two fingerprints differ, in words; empty where their numbers compare."""
    keys = [*_WORDS, *sorted((a.keys() | b.keys()) - _WORDS.keys())]
    return [
        f"{_WORDS.get(key, key)}: {_shown(a, key)} against {_shown(b, key)}"
        for key in keys
        if a.get(key) != b.get(key)
    ]


def _shown(fingerprint: Mapping[str, Any], key: str) -> str:
    return str(fingerprint[key]) if key in fingerprint else "not stated"
