"""What a trial takes of the machine or cluster, from its configuration."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from fastgan_ray.config.schema import ModelConfig, RunConfig
from fastgan_ray.errors import UserError
from fastgan_ray.models import small_resolution
from fastgan_ray.models.discriminator import discriminator_channels
from fastgan_ray.models.generator import COMPOUND_SIDES, generator_channels, skip_sources

Resources = Mapping[str, float]

# Rough: CUDA itself, the feature network and its batch.
FIXED_GB = 2.0
# float32 weight, gradient, two moments of Adam, and the normalised weight; G has an average, too,
# and D is used twice.
BYTES_PER_WEIGHT = 24
# What the backward pass keeps, in maps of a stage's width, counted on the networks
# (docs/findings.md): of a gated convolution what goes into the normalisation and the
# gate, twice the width each, and what comes out; of D's stages, averaged over its two paths.
MAPS_PER_GATED, MAPS_PER_DOWN, MAPS_PER_DCGAN = 5, 6, 3
# Beside it for a moment: gradients of the largest map, twice the width.
MAPS_AT_ONCE = 6
SHARES = (1 / 8, 1 / 6, 1 / 4, 1 / 3, 1 / 2, 1.0)


def demand(config: RunConfig, nodes: Sequence[Resources], gpu_gb: float) -> dict[str, float]:
    """Each worker's {"CPU": cores, "GPU": share of one, or several}; 0 where `nodes` have no GPU.

    `nodes` are the resources of each machine. The share is the least one in which the estimated
    memory fits, of a GPU with `gpu_gb`; `resources.gpus` overrides it. Several workers have a GPU
    each, for NCCL refuses two processes on one.
    """
    gpus = config.resources.gpus
    if gpus is None:
        wanted = config.train.device not in ("cpu", "mps")
        has_gpus = any(node.get("GPU", 0) for node in nodes)
        gpus = share(memory_gb(config) / gpu_gb) if wanted and has_gpus else 0.0
        gpus = math.ceil(gpus) if config.resources.workers > 1 else gpus
    return {"CPU": config.resources.cpus, "GPU": gpus}


@dataclass(frozen=True)
class Request:
    """What one trial takes: so much for each of its workers, which may be on different machines."""

    worker: Resources
    workers: int = 1
    nested: bool = False

    def count(self, nodes: Sequence[Resources]) -> int:
        """How many such trials run at once."""
        return sum(_count(self.worker, node) for node in nodes) // self.workers


def request(config: RunConfig, nodes: Sequence[Resources], gpu_gb: float) -> Request:
    """What a trial takes; arguments as of `demand`."""
    resources = config.resources
    return Request(demand(config, nodes, gpu_gb), resources.workers, resources.nested)


def share(needed: float) -> float:
    """The smallest usual share of a GPU that is at least `needed`; at most one GPU."""
    return next((part for part in SHARES if needed <= part), 1.0)


def memory_gb(config: RunConfig) -> float:
    """The GPU memory that training takes, in GB, within a quarter: `training_gb` and CUDA's own."""
    return FIXED_GB + training_gb(config, bf16=config.train.precision != "fp32")


def training_gb(config: RunConfig, bf16: bool) -> float:
    """Weights, their gradients and moments, and what a step keeps for its backward passes."""
    weights, maps, largest = COUNTS[config.model.architecture](config.model)
    bytes_each = 2 if bf16 else 4
    kept = config.train.batch_size * (maps + MAPS_AT_ONCE * largest) * bytes_each
    return (weights * BYTES_PER_WEIGHT + kept) / 1e9


def check_feasible(requests: Iterable[Request], nodes: Sequence[Resources]) -> None:
    """UserError if a trial would wait for ever because no machine has what it asks for."""
    for one in requests:
        have = "; ".join(_shown(node) for node in nodes) or "no machine"
        if not any(_fits(one.worker, node) for node in nodes):
            raise UserError(
                f"resources: a trial needs {_shown(one.worker)}"
                f"{' for each worker' if one.workers > 1 else ''}, and no machine has that "
                f"(there is: {have}). Lower resources.cpus or resources.gpus, or add a machine."
            )
        if not one.count(nodes):
            raise UserError(
                f"resources: a trial needs {one.workers} workers of {_shown(one.worker)}, and all "
                f"machines together have no room for them (there is: {have}). Lower "
                "resources.workers, cpus or gpus, or add a machine."
            )


def fitting(
    requests: Sequence[Request], nodes: Sequence[Resources], wanted: int | None = None
) -> int:
    """How many trials run at once, at least 1: as many as `wanted`, or of the least demanding kind.

    Where some are nested, at most as many as there is room for of any kind: Ray Tune does not see
    what their workers take, and would start trials whose workers then wait.
    """
    counts = [one.count(nodes) for one in requests]
    most = wanted or max(counts, default=1)
    if any(one.nested for one in requests):
        most = min(most, *counts)
    return max(1, most)


def _fastgan(model: ModelConfig) -> tuple[float, float, float]:
    """Weights, values kept for each picture, and values of the largest map."""
    g, d = generator_channels(model), discriminator_channels(model)
    # D's maps are half as wide as the level that they have the channels of, the stem's at most 256.
    judged = [(min(level // 2, 256), width) for level, width in d.items() if level > 8]
    decoded = [
        (side, times * model.decoder_width)
        for side, times in {16: 4, 32: 2, 64: 2, 128: 1}.items()
        if side <= model.resolution and model.autoencodes
    ]
    convolutions = {side: 2 if side in COMPOUND_SIDES else 1 for side in g}
    gated = sum(convolutions[side] * width * side**2 for side, width in g.items())
    skipped = sum(g[side] * side**2 for side in skip_sources(model))
    pictures = 3 * (model.resolution**2 + small_resolution(model.resolution) ** 2)
    maps = MAPS_PER_GATED * (gated + 3 * sum(width * side**2 for side, width in decoded)) + skipped
    maps += 2 * (MAPS_PER_DOWN * sum(width * side**2 for side, width in judged) + pictures)
    weights = 16 * model.nz * 2 * g[4]
    for side, width in g.items():
        weights += 9 * 2 * width * (g.get(side // 2, 0) + (convolutions[side] - 1) * width)
    for side, source in skip_sources(model).items():
        weights += 16 * g[source] * g[side] + g[side] ** 2
    widths = [width for _, width in judged]
    weights += sum((2 * 16 + 9 + 1) * a * b for a, b in itertools.pairwise(widths))
    largest = max(width * side**2 for side, width in [*g.items(), *judged])
    return weights, maps, largest


def _dcgan(model: ModelConfig) -> tuple[float, float, float]:
    width, sides = model.dcgan_width, [4 << level for level in range(model.dcgan_depth + 1)]
    maps = MAPS_PER_DCGAN * 3 * sum(width * side**2 for side in sides)
    weights = 2 * 16 * width * (width * model.dcgan_depth + model.nz)
    return weights, maps, width * sides[-1] ** 2


def _fits(needed: Resources, node: Resources) -> bool:
    return all(amount <= node.get(name, 0) for name, amount in needed.items())


def _count(needed: Resources, node: Resources) -> int:
    # A trial on a share of a GPU stays on one: two shares of 0.6 do not make 1.2.
    counts = []
    for name, amount in needed.items():
        have = node.get(name, 0)
        if 0 < amount < 1 and name == "GPU":
            counts.append(int(have) * int(1 / amount + 1e-9))
        elif amount:
            counts.append(int(have / amount + 1e-9))
    return min(counts, default=1)


def _shown(amounts: Resources) -> str:
    return ", ".join(f"{amounts.get(name, 0):g} {name}s" for name in ("CPU", "GPU"))


COUNTS: dict[str, Callable[[ModelConfig], tuple[float, float, float]]] = {
    "fastgan": _fastgan,
    "dcgan": _dcgan,
}
