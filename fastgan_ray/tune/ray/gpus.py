"""The GPUs of each machine: how much memory and which compute capability they have.

Ray knows how many GPUs a machine has, not how large they are. A tiny task on one machine of each
kind asks PyTorch there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

Node = dict[str, float]

# Keys beside Ray's own in a node's resources.
GPU_GB, GPU_CAPABILITY = "gpu_gb", "gpu_capability"
ASSUMED: Node = {GPU_GB: 16.0, GPU_CAPABILITY: 8.0}
ACCELERATOR = "accelerator_type:"  # how Ray's resource of a kind of GPU begins
SECONDS_TO_ANSWER = 120.0


def local_gpus() -> Node:
    """Return the memory in GB and the compute capability of this machine's weakest GPU.

    Both are the smallest over its GPUs, {} without any. Apple's GPUs have no capability: 0.
    """
    import torch

    if torch.cuda.is_available():
        found = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        return {
            GPU_GB: min(gpu.total_memory for gpu in found) / 1e9,
            GPU_CAPABILITY: min(gpu.major + gpu.minor / 10 for gpu in found),
        }
    if torch.backends.mps.is_available():
        return {GPU_GB: torch.mps.recommended_max_memory() / 1e9, GPU_CAPABILITY: 0.0}
    return {}


def describe_nodes(look: Callable[[], Node] = local_gpus) -> list[Node]:
    """Return each living machine's resources, with its GPUs' memory and capability if it has any.

    `look` runs once on a machine of each kind; where it finds nothing or does not answer, the GPUs
    are taken for ASSUMED.
    """
    list_nodes: Callable[[], list[dict[str, Any]]] = ray.nodes
    living = [node for node in list_nodes() if node["Alive"]]
    asked: dict[tuple[tuple[str, float], ...], Any] = {}
    for node in living:
        kind = kind_of(node["Resources"])
        if node["Resources"].get("GPU") and kind not in asked:
            asked[kind] = _ask(node["NodeID"], look)
    answers = {kind: _answer(task) for kind, task in asked.items()}
    return [
        dict(node["Resources"]) | answers.get(kind_of(node["Resources"]), {}) for node in living
    ]


def kind_of(resources: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    """Return what two machines of one kind have in common: kind and number of GPUs."""
    return tuple(
        sorted(
            (name, amount)
            for name, amount in resources.items()
            if name == "GPU" or name.startswith(ACCELERATOR)
        )
    )


def with_assumed_gpus(nodes: Sequence[Node], known: Sequence[Node]) -> list[Node]:
    """Return machines that have yet to start, with the GPUs of a known machine of the same kind."""
    kinds = {kind_of(node): node for node in known if GPU_GB in node}
    described = []
    for node in nodes:
        like = kinds.get(kind_of(node), ASSUMED)
        gpus = {name: like[name] for name in ASSUMED} if node.get("GPU") else {}
        described.append(node | gpus)
    return described


def _ask(node_id: str, look: Callable[[], Node]) -> Any:  # noqa: ANN401 - Ray's reference
    """Start the task, which takes no GPU and yet sees all of them."""
    pinned = NodeAffinitySchedulingStrategy(node_id, soft=False)
    task = ray.remote(_unhidden)
    return task.options(num_cpus=0, scheduling_strategy=pinned, max_retries=0).remote(look)


def _unhidden(look: Callable[[], Node]) -> Node:
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)  # empty for a task without a GPU
    return look()


def _answer(task: Any) -> Node:  # noqa: ANN401 - Ray's reference
    try:
        found: Node = ray.get(task, timeout=SECONDS_TO_ANSWER)
    except ray.exceptions.RayError:
        found = {}
    return ASSUMED | found
