"""What a trial takes of the machine or cluster, from its configuration."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.errors import UserError
from fastgan_ray.search.cost.memory import gpu_gb_of, host_gb_of
from fastgan_ray.tune.ray.gpus import ACCELERATOR, ASSUMED, GPU_CAPABILITY, GPU_GB

Resources = Mapping[str, float]

SURELY = 0.8  # of an estimate of memory, which is right within a quarter
SHARES = (1 / 8, 1 / 6, 1 / 4, 1 / 3, 1 / 2, 1.0)
PIN = 0.001  # amount of a GPU kind's resource that a trial requests to run on such a machine


def uses_gpu(config: RunConfig, nodes: Sequence[Resources]) -> bool:
    """Return whether a worker of this configuration gets a GPU, or a share of one."""
    if config.resources.gpus is not None:
        return config.resources.gpus > 0
    return config.train.device != "cpu" and any(node.get("GPU", 0) for node in nodes)


def demands(config: RunConfig, nodes: Sequence[Resources]) -> list[dict[str, float]]:
    """Return what a worker takes on each kind of GPU where it fits: {"CPU": cores, "GPU": share}.

    `nodes` are the resources of each machine (see `gpus`). The share is the least one in which the
    estimated memory fits on that kind; `resources.gpus` overrides it. Several workers take a GPU
    each, because NCCL refuses two processes on one. Where machines have GPUs of different kinds,
    the demand names the kind.
    """
    cpus, gpus, workers = config.resources.cpus, config.resources.gpus, config.resources.workers
    if not uses_gpu(config, nodes):
        return [{"CPU": cpus, "GPU": 0.0}]
    if gpus is not None:
        return [{"CPU": cpus, "GPU": gpus}]
    kinds = gpu_kinds(nodes)
    fitting = {
        kind: gpu for kind, gpu in kinds.items() if SURELY * needed_gb(config, gpu) <= gpu[GPU_GB]
    }
    if not fitting:  # `check_memory` says so; the largest is the best try
        largest = max(kinds, key=lambda kind: kinds[kind][GPU_GB])
        fitting = {largest: kinds[largest]}
    several = len(kinds) > 1 and workers == 1
    return [
        {
            "CPU": cpus,
            "GPU": 1.0 if workers > 1 else share(needed_gb(config, gpu) / gpu[GPU_GB]),
            **({kind: PIN} if several and kind else {}),
        }
        for kind, gpu in fitting.items()
    ]


def needed_gb(config: RunConfig, gpu: Resources) -> float:
    """Return the estimated memory of a training on a GPU of this kind, in GB."""
    return gpu_gb_of(config, gpu[GPU_CAPABILITY])


def gpu_kinds(nodes: Sequence[Resources]) -> dict[str, dict[str, float]]:
    """Return the weakest GPU of each kind, by Ray's name of the resource ("" for unnamed ones)."""
    kinds: dict[str, dict[str, float]] = {}
    for node in nodes:
        if not node.get("GPU"):
            continue
        kind = next((name for name in node if name.startswith(ACCELERATOR)), "")
        weakest = kinds.setdefault(kind, dict.fromkeys(ASSUMED, math.inf))
        for name, assumed in ASSUMED.items():
            weakest[name] = min(weakest[name], node.get(name, assumed))
    if "" in kinds and len(kinds) > 1:  # a trial cannot ask for an unnamed kind
        return {"": {name: min(gpu[name] for gpu in kinds.values()) for name in ASSUMED}}
    return kinds


@dataclass(frozen=True)
class Request:
    """What one trial takes, for each of its workers, which may be on different machines.

    `choices` has the demand on each kind of GPU; a trial takes one of them.
    """

    choices: Sequence[Resources]
    workers: int = 1
    nested: bool = False

    @property
    def worker(self) -> Resources:
        """Return the demand on the first kind of GPU."""
        return self.choices[0]

    def count(self, nodes: Sequence[Resources]) -> int:
        """Return how many such trials run at once."""
        return sum(_counts(self.choices, nodes)) // self.workers

    def choose(self, number: int, nodes: Sequence[Resources]) -> Resources:
        """Return the demand of trial `number`: kinds take turns in proportion to their room."""
        rooms = _counts(self.choices, nodes)
        taken = [0] * len(rooms)
        for _ in range(number % max(1, sum(rooms)) + 1):
            turn = min(
                (kind for kind, room in enumerate(rooms) if room),
                key=lambda kind: (taken[kind] + 1) / rooms[kind],
                default=0,
            )
            taken[turn] += 1
        return self.choices[turn]


def request(config: RunConfig, nodes: Sequence[Resources]) -> Request:
    """Return the resources that a trial needs; the arguments are those of `demands`."""
    return Request(demands(config, nodes), config.resources.workers, config.resources.nested)


def can_reuse_process(request: Request) -> bool:
    """Return whether the next trial may use the process of such a trial again.

    Not if it used a GPU, as an error of CUDA stays in its process; nor if it had workers.
    """
    return not request.worker.get("GPU") and not request.nested


def share(needed: float) -> float:
    """Return the smallest usual share of a GPU that is at least `needed`; at most one GPU."""
    return next((part for part in SHARES if needed <= part), 1.0)


def check_feasible(requests: Iterable[Request], nodes: Sequence[Resources]) -> None:
    """Raise UserError if a trial would wait forever because no machine has what it needs."""
    for trial in requests:
        have = "; ".join(_shown(node) for node in nodes) or "no machine"
        if not any(_fits(choice, node) for choice in trial.choices for node in nodes):
            raise UserError(
                f"resources: a trial needs {_shown(trial.worker)}"
                f"{' for each worker' if trial.workers > 1 else ''}, and no machine has that "
                f"(there is: {have}). Lower resources.cpus or resources.gpus, or add a machine."
            )
        if not trial.count(nodes):
            raise UserError(
                f"resources: a trial needs {trial.workers} workers of {_shown(trial.worker)}, and "
                f"all machines together have no room for them (there is: {have}). Lower "
                "resources.workers, cpus or gpus, or add a machine."
            )


def check_memory(
    configs: Sequence[RunConfig], nodes: Sequence[Resources]
) -> tuple[int | None, str]:
    """Return how many trials the machines' memory has room for, and a warning, by estimate.

    None = no known limit. UserError if no trial would fit, not even if it takes a quarter less than
    the estimate; the warning is about those that would not.
    """
    rooms = [node["memory"] / 1e9 for node in nodes if node.get("memory")]
    lacking: list[tuple[float, float, str]] = []
    together: list[int] = []
    for config in configs:
        if uses_gpu(config, nodes) and (kinds := gpu_kinds(nodes)):
            needs = [(needed_gb(config, gpu), gpu[GPU_GB], "GPU") for gpu in kinds.values()]
        else:
            needs = [(host_gb_of(config), max(rooms, default=math.inf), "machine")]
        needed, available, owner = min(needs, key=lambda need: need[0] / need[1])
        if SURELY * needed > available:
            lacking.append((needed, available, owner))
        elif rooms and owner == "machine":
            count = sum(int(room / (SURELY * needed)) for room in rooms)
            together.append(max(1, count // config.resources.workers))
    limit = min(together, default=None)
    if not lacking:
        return limit, ""
    needed, available, owner = max(lacking)
    lack = (
        f"about {needed:.1f} GB of memory, and no {owner} has more than {available:.1f} GB for it"
    )
    mend = (
        "Lower model.ngf, model.ndf, model.resolution or train.batch_size, or set "
        "train.gradient_checkpointing"
    )
    if len(lacking) == len(configs):
        raise UserError(f"resources: a trial needs {lack}. {mend}.")
    part = f"{len(lacking)} of {len(configs)} sampled configurations"
    return limit, f"Memory: {part} need up to {lack}, and would be infeasible. {mend}."


def max_concurrent(
    requests: Sequence[Request], nodes: Sequence[Resources], wanted: int | None = None
) -> int:
    """Return how many trials run at once: `wanted`, or as many of the smallest as fit; at least 1.

    If some are nested, as many of the largest as fit: Ray Tune does not see what their workers
    take, and would start trials whose workers then wait.
    """
    counts = [trial.count(nodes) for trial in requests]
    most = wanted or max(counts, default=1)
    if any(trial.nested for trial in requests):
        most = min(most, *counts)
    return max(1, most)


def _counts(choices: Sequence[Resources], nodes: Sequence[Resources]) -> list[int]:
    """Return how often each demand fits; a machine counts for the first one that fits there."""
    rooms = [0] * len(choices)
    for node in nodes:
        counts = [_count(choice, node) for choice in choices]
        kind = next((number for number, count in enumerate(counts) if count), 0)
        rooms[kind] += counts[kind]
    return rooms


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
