"""Record how a metric was measured; refuse to compare values with different protocols."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastgan_ray.arithmetic import IEEE
from fastgan_ray.config.evaluation import EvalConfig
from fastgan_ray.config.feature_networks import shared_data
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.data.source import Source
from fastgan_ray.errors import UserError
from fastgan_ray.metrics.extractors import Extractor

LABELS = {
    "extractor": "feature network",
    "weights_sha256": "feature network's weights",
    "resize": "resizing",
    "reference": "reference pictures",
    "reference_count": "number of reference pictures",
    "held_out": "reference pictures that are held out from training",
    "fit": "how pictures get the aspect ratio (data.fit)",
    "aspect": "aspect ratio of the pictures",
    "mode": "colours of the pictures",
    "background": "background colour",
    "reference_flips": "reference pictures include mirror images",
    "num_fakes": "number of generated pictures",
    "eval_seed": "seed of the latents",
    "arithmetic": "arithmetic of sampling and features",
    "shared_data": "training data shared by the feature networks of the metric and of the "
    "discriminator (DINOv2 and CLIP share none)",
}
# A protocol leaves out a key that has this value. So it can equal a protocol of an earlier version,
# which did not have these keys.
USUAL = {"aspect": "1:1", "mode": "rgb", "held_out": "no", "shared_data": "none"}


def protocol(config: RunConfig, extractor: Extractor, source: Source) -> dict[str, Any]:
    """Return the protocol of a run, which describes how the run measures its metrics.

    The keys are keys of LABELS, and the values are JSON values. Two values of a metric can be
    compared if their protocols are equal. `source` has the reference pictures. The feature networks
    need square pictures with three colours. So grey pictures are repeated in three channels,
    pictures with alpha are put on `data.background`, and pictures that are not square are
    stretched.
    """
    unusual = {
        "aspect": config.model.aspect,
        "mode": source.mode,
        "held_out": _held_out(config.eval),
        "shared_data": shared_data(config.model, config.eval.extractor) or USUAL["shared_data"],
    }
    return {
        "extractor": extractor.name,
        "weights_sha256": extractor.weights_sha256[:16],
        "resize": extractor.resize,
        "reference": source.digest[:16],
        "reference_count": len(source),
        "fit": config.data.fit,
        "background": config.data.background.lower(),
        "reference_flips": config.eval.mirrored_reference,
        "num_fakes": config.eval.num_fakes,
        "eval_seed": config.eval.seed,
        "arithmetic": IEEE,
        **{key: value for key, value in unusual.items() if value != USUAL[key]},
    }


def _held_out(config: EvalConfig) -> str:
    if config.data is not None:
        return "another folder"
    return f"share {config.held_out:g}" if config.held_out > 0 else "no"


def protocol_differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """Return a text for each difference between two protocols; [] if metrics can be compared."""
    a, b = {**USUAL, **a}, {**USUAL, **b}
    keys = [*LABELS, *sorted((a.keys() | b.keys()) - LABELS.keys())]
    return [
        f"{LABELS.get(key, key)}: {_format(a, key)} against {_format(b, key)}"
        for key in keys
        if a.get(key) != b.get(key)
    ]


def require_same_protocol(protocols: Mapping[str, Mapping[str, Any]], advice: str) -> None:
    """Raise UserError unless all protocols are equal.

    `protocols` is {name: protocol}; the message uses the names. The message lists how each protocol
    differs from the first protocol, and ends with `advice`.
    """
    (first, expected), *others = protocols.items()
    problems = [
        f"{name} cannot be compared with {first}: {'; '.join(differences)}"
        for name, other in others
        if (differences := protocol_differences(other, expected))
    ]
    if problems:
        raise UserError("\n".join([*problems, advice]))


def _format(protocol: Mapping[str, Any], key: str) -> str:
    return str(protocol[key]) if key in protocol else "not stated"
