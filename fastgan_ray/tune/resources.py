"""What a trial takes of the machine or cluster, from its configuration."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from fastgan_ray.config.schema import ModelConfig, RunConfig
from fastgan_ray.errors import UserError

Resources = Mapping[str, float]

# Published multipliers of the base width at 4, 8, 16, ... px.
WIDTHS = (16, 8, 4, 2, 2, 1, 0.5, 0.25, 0.125)
# Rough: CUDA itself, the feature network and its batch.
FIXED_GB = 2.0
# float32 weight, gradient and two moments of Adam; the generator's average adds one.
BYTES_PER_WEIGHT = 20
# Maps kept for the backward pass, per map of the stage's width, over both networks and the
# augmentation; with fp32, twice what bf16 needs.
MAPS_PER_STAGE = 40
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
    """A rough, generous estimate of the GPU memory that training takes, in GB."""
    model = config.model
    weights, maps = 0.0, 0.0
    for widths in STAGE_WIDTHS[model.architecture](model):
        for index, width in enumerate(widths):
            previous = widths[max(0, index - 1)]
            weights += 2 * 9 * previous * width
            side = model.resolution / 2 ** (len(widths) - 1 - index)
            maps += width * side**2 / 2
    activations = config.train.batch_size * maps * MAPS_PER_STAGE * 4
    return FIXED_GB + (weights * BYTES_PER_WEIGHT + activations) / 1e9


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


def _fastgan(model: ModelConfig) -> Sequence[Sequence[float]]:
    """Widths of the generator's stages from 4 px, and of the discriminator's, to the resolution."""
    stages = int(math.log2(model.resolution)) - 1
    by_base = [[max(1.0, base * w) for w in WIDTHS[:stages]] for base in (model.ngf, model.ndf)]
    return [model.g_channels or by_base[0], model.d_channels or by_base[1][1:]]


def _dcgan(model: ModelConfig) -> Sequence[Sequence[float]]:
    return 2 * [[model.dcgan_width] * (model.dcgan_depth + 1)]


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


STAGE_WIDTHS: dict[str, Callable[[ModelConfig], Sequence[Sequence[float]]]] = {
    "fastgan": _fastgan,
    "dcgan": _dcgan,
}
