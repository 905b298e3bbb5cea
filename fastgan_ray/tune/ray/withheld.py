"""Keeping a GPU, or a whole machine, from being given to trials.

Ray has no public way to leave one of its GPUs out. An actor that holds it does the same: nobody
else is given what it has.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy


class Place(NamedTuple):
    """Where a trial runs: Ray's id of the machine, its name, and the GPUs that the trial sees."""

    node: str
    host: str
    gpus: tuple[str, ...]

    def __str__(self) -> str:
        gpus = f"GPU {', '.join(self.gpus)} of " if self.gpus else ""
        return f"{gpus}{self.host}"


def place_here() -> Place:
    """Return where this process of Ray's runs."""
    import socket

    context = ray.get_runtime_context()
    gpus = context.get_accelerator_ids().get("GPU", [])
    return Place(context.get_node_id(), socket.gethostname(), tuple(sorted(map(str, gpus))))


class Withholder:
    """Holds places, as soon as they are free, until this object goes."""

    def __init__(self) -> None:
        self._wanted: dict[Place, list[tuple[Any, Any]]] = {}
        self._held: dict[Place, list[Any]] = {}

    def withhold(self, place: Place) -> None:
        """Begin to hold a place."""
        if place not in self._wanted and place not in self._held:
            self._wanted[place] = [_ask(place)]

    def step(self) -> None:
        """Look at what Ray has given meanwhile; never waits."""
        for place, asked in list(self._wanted.items()):
            actor, answer = asked[-1]
            ready, _ = ray.wait([answer], timeout=0)
            if not ready:
                continue
            if set(place.gpus) <= set(ray.get(answer)):
                # Only this one is kept: the others were given in its place.
                self._held[place] = [actor]
                del self._wanted[place]
            else:
                asked.append(_ask(place))

    @property
    def held(self) -> list[Place]:
        """The places that are held by now."""
        return list(self._held)


class _Holder:
    def gpus(self) -> list[str]:
        """Return the GPUs that Ray has given this actor."""
        return [str(number) for number in ray.get_runtime_context().get_accelerator_ids()["GPU"]]


def _ask(place: Place) -> tuple[Any, Any]:
    """Ask for one GPU of the machine, or for all of its cores."""
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
