"""Keep trials away from a GPU, or from a whole machine.

Ray has no public way to exclude one of its GPUs. An actor that reserves the GPU has the same
effect, because then no trial can get this GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy


class Place(NamedTuple):
    """The machine and the GPUs of a trial.

    `node` is Ray's id of the machine, and `host` is its name. `gpus` are the ids of the trial's
    GPUs; the tuple is empty if the trial uses no GPU.
    """

    node: str
    host: str
    gpus: tuple[str, ...]

    def __str__(self) -> str:
        gpus = f"GPU {', '.join(self.gpus)} of " if self.gpus else ""
        return f"{gpus}{self.host}"


def place_here() -> Place:
    """Return the machine and the GPUs of this Ray process."""
    import socket

    context = ray.get_runtime_context()
    gpus = context.get_accelerator_ids().get("GPU", [])
    return Place(context.get_node_id(), socket.gethostname(), tuple(sorted(map(str, gpus))))


class Withholder:
    """Reserves GPUs or whole machines as soon as they are free, so that no trial gets them.

    The reservations end when this object is deleted.
    """

    def __init__(self) -> None:
        self._pending: dict[Place, list[tuple[Any, Any]]] = {}
        self._held: dict[Place, list[Any]] = {}

    def withhold(self, place: Place) -> None:
        """Ask Ray to reserve the GPUs of `place`, or the whole machine if `place` has no GPUs.

        `step` checks later whether Ray has reserved them.
        """
        if place not in self._pending and place not in self._held:
            self._pending[place] = [_request(place)]

    def step(self) -> None:
        """Check, without waiting, whether Ray has reserved the requested GPUs and machines.

        Ray chooses the GPU of a machine. If Ray has reserved a wrong GPU, request one more GPU.
        """
        for place, requests in list(self._pending.items()):
            actor, answer = requests[-1]
            ready, _ = ray.wait([answer], timeout=0)
            if not ready:
                continue
            if set(place.gpus) <= set(ray.get(answer)):
                # Keep only this actor. The earlier actors got other GPUs, which are released now.
                self._held[place] = [actor]
                del self._pending[place]
            else:
                requests.append(_request(place))

    @property
    def held(self) -> list[Place]:
        """The GPUs and machines that are reserved now."""
        return list(self._held)


class _Holder:
    def gpus(self) -> list[str]:
        """Return the ids of the GPUs that Ray has reserved for this actor."""
        return [str(number) for number in ray.get_runtime_context().get_accelerator_ids()["GPU"]]


def _request(place: Place) -> tuple[Any, Any]:
    """Start an actor that reserves one GPU of the machine `place.node`.

    If `place` has no GPUs, the actor reserves all cores of the machine. Returns the actor, and a
    Ray reference to the list of the GPUs that the actor gets.
    """
    pinned = NodeAffinitySchedulingStrategy(place.node, soft=False)
    amounts = {"num_gpus": 1} if place.gpus else {"num_cpus": _cores(place.node)}
    actor = ray.remote(_Holder).options(**{"num_cpus": 0, **amounts}, scheduling_strategy=pinned)
    holder: Any = actor.remote()
    return holder, holder.gpus.remote()


def _cores(node_id: str) -> float:
    list_nodes: Callable[[], list[dict[str, Any]]] = ray.nodes
    for node in list_nodes():
        if node["NodeID"] == node_id:
            return float(node["Resources"].get("CPU", 0.0))
    return 0.0
