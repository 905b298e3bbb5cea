"""Find the memory and the compute capability of each machine's GPUs.

Ray knows how many GPUs a machine has, but not their memory. So a small Ray task asks PyTorch for
the memory, on one machine of each kind.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

Node = dict[str, float]

# Keys that are added to Ray's own keys in a node's resources.
GPU_GB, GPU_CAPABILITY = "gpu_gb", "gpu_capability"
ASSUMED: Node = {GPU_GB: 16.0, GPU_CAPABILITY: 8.0}
ACCELERATOR = "accelerator_type:"  # prefix of Ray's resource for a kind of GPU
SECONDS_TO_ANSWER = 120.0


def local_gpus() -> Node:
    """Return the smallest memory and the lowest compute capability of this machine's GPUs.

    The result is {"gpu_gb": memory in GB, "gpu_capability": capability, such as 8.0}; {} if the
    machine has no GPU. Apple's GPUs have no compute capability, so their value is 0.
    """
    import torch

    if torch.cuda.is_available():
        gpus = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        return {
            GPU_GB: min(gpu.total_memory for gpu in gpus) / 1e9,
            GPU_CAPABILITY: min(gpu.major + gpu.minor / 10 for gpu in gpus),
        }
    if torch.backends.mps.is_available():
        return {GPU_GB: torch.mps.recommended_max_memory() / 1e9, GPU_CAPABILITY: 0.0}
    return {}


def describe_nodes(inspect: Callable[[], Node] = local_gpus) -> list[Node]:
    """Return the resources of each live machine, with the memory and capability of its GPUs.

    `inspect` is a function that returns a dict as `local_gpus` does. Machines with the same kind
    and number of GPUs form a group, and `inspect` runs on one machine of each group. If it finds no
    GPU or does not answer, the group has the values in ASSUMED.
    """
    list_nodes: Callable[[], list[dict[str, Any]]] = ray.nodes
    nodes = [node for node in list_nodes() if node["Alive"]]
    tasks: dict[tuple[tuple[str, float], ...], Any] = {}
    for node in nodes:
        kind = kind_of(node["Resources"])
        if node["Resources"].get("GPU") and kind not in tasks:
            tasks[kind] = _start_task(node["NodeID"], inspect)
    gpus = {kind: _result(task) for kind, task in tasks.items()}
    return [dict(node["Resources"]) | gpus.get(kind_of(node["Resources"]), {}) for node in nodes]


def kind_of(resources: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    """Return a key that is the same for machines with the same kind and number of GPUs."""
    return tuple(
        sorted(
            (name, amount)
            for name, amount in resources.items()
            if name == "GPU" or name.startswith(ACCELERATOR)
        )
    )


def with_assumed_gpus(nodes: Sequence[Node], known: Sequence[Node]) -> list[Node]:
    """Return `nodes` with the memory and compute capability of their GPUs added.

    `nodes` are the resources of machines that have not started yet. The values come from a machine
    in `known` with the same GPUs. If there is no such machine, they come from ASSUMED.
    """
    kinds = {kind_of(node): node for node in known if GPU_GB in node}
    described = []
    for node in nodes:
        values = kinds.get(kind_of(node), ASSUMED)
        gpus = {name: values[name] for name in ASSUMED} if node.get("GPU") else {}
        described.append(node | gpus)
    return described


def _start_task(node_id: str, inspect: Callable[[], Node]) -> Any:  # noqa: ANN401 - Ray's reference
    """Start a Ray task that runs `inspect` on a machine; return a reference to its result.

    The task reserves no GPU, but it sees all GPUs of the machine.
    """
    pinned = NodeAffinitySchedulingStrategy(node_id, soft=False)
    task = ray.remote(_with_visible_gpus)
    return task.options(num_cpus=0, scheduling_strategy=pinned, max_retries=0).remote(inspect)


def _with_visible_gpus(inspect: Callable[[], Node]) -> Node:
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)  # Ray sets it to "" for a task without a GPU
    return inspect()


def _result(task: Any) -> Node:  # noqa: ANN401 - Ray's reference
    try:
        gpus: Node = ray.get(task, timeout=SECONDS_TO_ANSWER)
    except ray.exceptions.RayError:
        gpus = {}
    return ASSUMED | gpus
