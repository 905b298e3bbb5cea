"""What two numbers must share to be compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.data.source import Source
from fastgan_ray.errors import UserError
from fastgan_ray.metrics.extractors import Extractor

WORDS = {
    "extractor": "feature network",
    "weights_sha256": "feature network's weights",
    "resize": "resizing",
    "reference": "reference pictures",
    "reference_count": "number of reference pictures",
    "fit": "fit of pictures that are not square",
    "background": "background colour",
    "reference_flips": "mirror images among the reference",
    "num_fakes": "number of generated pictures",
    "eval_seed": "seed of the latents",
}


def protocol(config: RunConfig, extractor: Extractor, source: Source) -> dict[str, Any]:
    """The fingerprint that a number carries: JSON-able, and equal where numbers compare."""
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
    }


def same_protocol(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """How two fingerprints differ, in words; empty where their numbers compare."""
    keys = [*WORDS, *sorted((a.keys() | b.keys()) - WORDS.keys())]
    return [
        f"{WORDS.get(key, key)}: {_shown(a, key)} against {_shown(b, key)}"
        for key in keys
        if a.get(key) != b.get(key)
    ]


def require_same_protocol(named: Mapping[str, Mapping[str, Any]], mend: str) -> None:
    """UserError unless all fingerprints, by the name of what was measured, agree.

    Each that differs from the first is named with how, and `mend` says what to do.
    """
    (first, wanted), *others = named.items()
    faults = [
        f"{name} does not compare with {first}: {'; '.join(differences)}"
        for name, fingerprint in others
        if (differences := same_protocol(fingerprint, wanted))
    ]
    if faults:
        raise UserError("\n".join([*faults, mend]))


def _shown(fingerprint: Mapping[str, Any], key: str) -> str:
    return str(fingerprint[key]) if key in fingerprint else "not stated"
