"""What a trial takes of the machine or cluster, from its configuration."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.errors import UserError
from fastgan_ray.search.cost.memory import gpu_gb_of, host_gb_of

Resources = Mapping[str, float]

SURELY = 0.8  # of an estimate of memory, which is right within a quarter
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
        gpus = share(gpu_gb_of(config) / gpu_gb) if wanted and has_gpus else 0.0
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


def can_reuse_process(request: Request) -> bool:
    """Whether the process of such a trial is as good as new for the next one.

    That of a GPU's is not: an error of CUDA's would stay with it. Nor is one that has had workers.
    """
    return not request.worker.get("GPU") and not request.nested


def share(needed: float) -> float:
    """The smallest usual share of a GPU that is at least `needed`; at most one GPU."""
    return next((part for part in SHARES if needed <= part), 1.0)


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


def check_memory(
    configs: Sequence[RunConfig], nodes: Sequence[Resources], gpu_gb: float
) -> tuple[int | None, str]:
    """How many trials the machines' memory has room for, and a warning, by estimate.

    None = no limit that is known. UserError if no trial would fit, not even if it takes a quarter
    less than the estimate; the warning is of those that would not.
    """
    rooms = [node["memory"] / 1e9 for node in nodes if node.get("memory")]
    lacking: list[tuple[float, float, str]] = []
    together: list[int] = []
    for config in configs:
        on_gpu = demand(config, nodes, gpu_gb)["GPU"] > 0
        needed = gpu_gb_of(config) if on_gpu else host_gb_of(config)
        have = gpu_gb if on_gpu else max(rooms, default=math.inf)
        if SURELY * needed > have:
            lacking.append((needed, have, "GPU" if on_gpu else "machine"))
        elif rooms and not on_gpu:
            count = sum(int(room / (SURELY * needed)) for room in rooms)
            together.append(max(1, count // config.resources.workers))
    limit = min(together, default=None)
    if not lacking:
        return limit, ""
    needed, have, place = max(lacking)
    told = f"about {needed:.1f} GB of memory, and no {place} has more than {have:.1f} GB for it"
    mend = (
        "Lower model.ngf, model.ndf, model.resolution or train.batch_size, or set "
        "train.gradient_checkpointing"
    )
    if len(lacking) == len(configs):
        raise UserError(f"resources: a trial needs {told}. {mend}.")
    share = f"{len(lacking)} of {len(configs)} configurations like those to come"
    return limit, f"Memory: {share} need up to {told}, and would be infeasible. {mend}."


def max_concurrent(
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
