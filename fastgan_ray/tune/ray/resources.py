"""Compute the cores, GPUs and memory that a trial needs, and how many trials may run at once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.counting import counted
from fastgan_ray.errors import UserError
from fastgan_ray.search.cost.memory import gpu_gb_of, host_gb_of
from fastgan_ray.tune.ray.gpus import ACCELERATOR, ASSUMED, GPU_CAPABILITY, GPU_GB

Resources = Mapping[str, float]

SURELY = 0.8  # a trial needs at least this share of its estimated memory; the error is up to 25 %
SHARES = (1 / 8, 1 / 6, 1 / 4, 1 / 3, 1 / 2, 1.0)
PIN = 0.001  # to get a kind of GPU, a trial requests this amount of Ray's resource for the kind


def uses_gpu(config: RunConfig, nodes: Sequence[Resources]) -> bool:
    """Return whether a worker with this configuration gets a GPU or a fraction of a GPU."""
    if config.resources.gpus is not None:
        return config.resources.gpus > 0
    return config.train.device != "cpu" and any(node.get("GPU", 0) for node in nodes)


def demands(config: RunConfig, nodes: Sequence[Resources]) -> list[dict[str, float]]:
    """Return the resources that a worker needs, for each kind of GPU that has enough memory.

    Each entry of the list (a "demand") is {"CPU": cores, "GPU": fraction of a GPU}. `nodes` are the
    resources of each machine (see `gpus.py`). There is only one demand if the worker uses no GPU,
    or if the setting `resources.gpus` fixes the fraction. If no kind has enough memory, there is
    only a demand for the kind with the most memory.

    If `resources.gpus` is None, the fraction depends on the number of workers. If a trial has
    several workers, each gets a whole GPU, because NCCL refuses two processes on the same GPU. If
    it has one worker, the worker gets the smallest fraction in `SHARES` that has enough memory, by
    an estimate. If there are different kinds of GPUs, this worker's demands also name the kind.
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
    if not fitting:  # `check_memory` reports this; the largest kind is the best choice
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
    """Return the estimated GPU memory of a training, in GB.

    `gpu` has the memory and the compute capability of a GPU (see `gpu_kinds`). The estimate depends
    on the compute capability.
    """
    return gpu_gb_of(config, gpu[GPU_CAPABILITY])


def gpu_kinds(nodes: Sequence[Resources]) -> dict[str, dict[str, float]]:
    """Return the memory and the compute capability of each kind of GPU.

    The result is {Ray's name of the kind: {"gpu_gb": memory in GB, "gpu_capability": compute
    capability}}. If machines in `nodes` with the same kind have different values, the smallest
    values count. If Ray has no name for one of the GPUs, all GPUs count as one kind, named "".
    """
    kinds: dict[str, dict[str, float]] = {}
    for node in nodes:
        if not node.get("GPU"):
            continue
        kind = next((name for name in node if name.startswith(ACCELERATOR)), "")
        weakest = kinds.setdefault(kind, dict.fromkeys(ASSUMED, math.inf))
        for name, assumed in ASSUMED.items():
            weakest[name] = min(weakest[name], node.get(name, assumed))
    if "" in kinds and len(kinds) > 1:  # a trial cannot request a kind without a name
        return {"": {name: min(gpu[name] for gpu in kinds.values()) for name in ASSUMED}}
    return kinds


@dataclass(frozen=True)
class Request:
    """The resources that a trial requests from Ray.

    `choices` has the demand of one worker for each kind of GPU (see `demands`). All `workers` of a
    trial use the same demand, but they may run on different machines. `nested` is true if Ray Train
    runs the workers.
    """

    choices: Sequence[Resources]
    workers: int = 1
    nested: bool = False

    @property
    def worker(self) -> Resources:
        """The resources that one worker needs, on the first kind of GPU in `choices`."""
        return self.choices[0]

    def count(self, nodes: Sequence[Resources]) -> int:
        """Return how many trials with this request can run on the machines `nodes` at once."""
        return sum(_counts(self.choices, nodes)) // self.workers

    def choose(self, number: int, nodes: Sequence[Resources]) -> Resources:
        """Return the resources that each worker of trial `number` requests from Ray.

        Each kind of GPU gets a share of the trials. The share is in proportion to the number of
        trials that fit on this kind.
        """
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
    """Return the resources that a trial requests from Ray.

    `config` is the trial's configuration. `nodes` are the resources of each machine.
    """
    return Request(demands(config, nodes), config.resources.workers, config.resources.nested)


def can_reuse_process(request: Request) -> bool:
    """Return whether the process of a trial may be reused by the next trial.

    `request` has the resources of the trial that used the process. The process is not reused if
    this trial uses a GPU, because a CUDA error persists in the process. It is also not reused if
    the trial has workers in other processes.
    """
    return not request.worker.get("GPU") and not request.nested


def share(needed: float) -> float:
    """Return the smallest GPU fraction in SHARES that is at least `needed`.

    If `needed` is larger than 1, return 1.
    """
    return next((part for part in SHARES if needed <= part), 1.0)


def check_feasible(requests: Iterable[Request], nodes: Sequence[Resources]) -> None:
    """Raise UserError if a trial would wait forever, because the machines lack its resources."""
    for trial in requests:
        have = "; ".join(_shown(node) for node in nodes) or "no machine"
        if not any(_fits(choice, node) for choice in trial.choices for node in nodes):
            raise UserError(
                f"resources: a trial needs {_shown(trial.worker)}"
                f"{' for each worker' if trial.workers > 1 else ''}, but no machine has that "
                f"much (the machines have: {have}). Lower resources.cpus or resources.gpus, or add "
                "a machine."
            )
        if not trial.count(nodes):
            raise UserError(
                f"resources: a trial needs {counted(trial.workers, 'worker')} of "
                f"{_shown(trial.worker)}, but all machines together do not have that "
                f"much (they have: {have}). Lower resources.workers, resources.cpus or "
                "resources.gpus, or add a machine."
            )


def check_devices(configs: Iterable[RunConfig], nodes: Sequence[Resources]) -> None:
    """Raise UserError if a configuration names a device that no machine has."""
    has_gpu = any(node.get("GPU") for node in nodes)
    for config in configs:
        if config.train.device in ("cuda", "mps") and not has_gpu:
            raise UserError(
                f"train.device: {config.train.device} needs a GPU, and no machine has one; set "
                "train.device to auto or cpu"
            )


def check_memory(
    configs: Sequence[RunConfig], nodes: Sequence[Resources]
) -> tuple[int | None, str]:
    """Return how many trials fit into the memory of the machines at once, and a warning.

    `configs` are examples of the trials' configurations. The number is None if memory does not
    limit it. Estimates of memory have an error of up to 25 %, so a configuration fits if its
    estimate times `SURELY` (0.8) fits. The warning says how many configurations do not fit; it is
    "" if all configurations fit. Raises UserError if no configuration fits.
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
    memory_and_limit = (
        f"about {needed:.1f} GB of memory, and no {owner} has more than {available:.1f} GB for a "
        "trial"
    )
    remedy = (
        "Lower model.ngf, model.ndf, model.resolution or train.batch_size, or set "
        "train.gradient_checkpointing"
    )
    if len(lacking) == len(configs):
        raise UserError(f"resources: a trial needs {memory_and_limit}. {remedy}.")
    return limit, (
        f"Not enough memory: {len(lacking)} of {len(configs)} sampled configurations could not be "
        f"trained; they need up to {memory_and_limit}. {remedy}."
    )


def max_concurrent(
    requests: Sequence[Request], nodes: Sequence[Resources], wanted: int | None = None
) -> int:
    """Return how many trials may run at once; at least 1.

    `wanted` is the user's limit. If `wanted` is None, the limit is the number of trials that fit if
    each has the smallest request. If Ray Train runs the workers of a trial, there is a second
    limit: the number of trials that fit if each has the largest request. Without it, workers might
    have to wait, because Ray Tune does not count their resources.
    """
    counts = [trial.count(nodes) for trial in requests]
    most = wanted or max(counts, default=1)
    if any(trial.nested for trial in requests):
        most = min(most, *counts)
    return max(1, most)


def _counts(choices: Sequence[Resources], nodes: Sequence[Resources]) -> list[int]:
    """Return, for each demand in `choices`, how many workers fit on all machines together.

    A demand has the resources of one worker on one kind of GPU. If several demands fit on a
    machine, the machine is counted only for the first of these demands.
    """
    rooms = [0] * len(choices)
    for node in nodes:
        counts = [_count(choice, node) for choice in choices]
        kind = next((number for number, count in enumerate(counts) if count), 0)
        rooms[kind] += counts[kind]
    return rooms


def _fits(needed: Resources, node: Resources) -> bool:
    return all(amount <= node.get(name, 0) for name, amount in needed.items())


def _count(needed: Resources, node: Resources) -> int:
    # A share cannot be split over two GPUs: two GPUs have room for two shares of 0.6, not three.
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
