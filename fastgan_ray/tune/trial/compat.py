"""Wrap the private parts of Ray Train that free the resources of a trial's workers.

`tests/test_compat.py` checks them with the installed Ray. If Ray changes, the test fails and says
what breaks.
"""

from __future__ import annotations

from ray.train.v2._internal.execution.callback import ControllerCallback, WorkerGroupCallback
from ray.train.v2._internal.execution.worker_group import WorkerGroup
from ray.util.placement_group import PlacementGroup, remove_placement_group


class ResourceRelease(ControllerCallback, WorkerGroupCallback):
    """Free the resources of all workers when the controller of Ray Train ends.

    If a worker dies while Ray Train starts the training function, Ray 2.60 forgets the other
    workers. These keep their resources, and the next workers wait forever for free resources. Ray
    has no public function to free them, but accepts callbacks of an internal type, such as this.
    """

    def __init__(self) -> None:
        self._groups: list[PlacementGroup] = []

    def after_worker_group_start(self, worker_group: WorkerGroup) -> None:
        """Remember the resources that Ray has reserved for the workers."""
        state = worker_group.get_worker_group_state()
        self._groups.append(state.placement_group_handle.placement_group)

    async def before_controller_shutdown(self) -> None:
        """Remove the reservations, which also ends workers that still run. Safe to call twice."""
        for group in self._groups:
            remove_placement_group(group)
