"""Free the resources of a trial's workers, with private parts of Ray Train.

`tests/test_compat.py` checks these parts with the installed Ray. If Ray changes, a test fails and
says what no longer works.
"""

from __future__ import annotations

from ray.train.v2._internal.execution.callback import ControllerCallback, WorkerGroupCallback
from ray.train.v2._internal.execution.worker_group import WorkerGroup
from ray.util.placement_group import PlacementGroup, remove_placement_group


class ResourceRelease(ControllerCallback, WorkerGroupCallback):
    """A callback that frees the resources of all workers when Ray Train's controller ends.

    If a worker dies while Ray Train starts the training function, Ray 2.60 forgets the other
    workers. The other workers keep their resources, and the next workers wait forever. Ray has no
    public function that frees these resources. But Ray accepts callbacks of an internal type, and
    this class has this type.
    """

    def __init__(self) -> None:
        self._groups: list[PlacementGroup] = []

    def after_worker_group_start(self, worker_group: WorkerGroup) -> None:
        """Remember the resources that Ray has reserved for the workers."""
        state = worker_group.get_worker_group_state()
        self._groups.append(state.placement_group_handle.placement_group)

    async def before_controller_shutdown(self) -> None:
        """Remove the reservations; this also ends workers that still run.

        The method may be called twice.
        """
        for group in self._groups:
            remove_placement_group(group)
