"""Run a confirmation's trainings round by round: the searcher and the records of its trials."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

from ray.tune.search import Searcher

from fastgan_ray.metrics.names import best_name, value_of
from fastgan_ray.search.ablation import AblationSpec, Cell
from fastgan_ray.search.confirmation import ended_values
from fastgan_ray.search.sequential import Rules, decide
from fastgan_ray.tune.ablation import AblationRecords, suggestion_of
from fastgan_ray.tune.driver.records import Record
from fastgan_ray.tune.ray.compat import FINISHED


class RoundSearcher(Searcher):
    """A searcher of Ray Tune that suggests the trainings that a confirmation still needs.

    A round has the trainings that the next look needs. They depend only on the values of the
    trainings that have ended (`sequential.decide`), so a round starts when all trainings of the
    previous round have ended.

    `order` has all trainings that the confirmation may need, in the order of their trials' numbers.
    `ended` has the trials that do not run again, as in ablation.json. At most `max_concurrent`
    trials run at the same time.
    """

    def __init__(
        self,
        spec: AblationSpec,
        order: Sequence[Cell],
        rules: Rules,
        ended: Mapping[str, Record],
        max_concurrent: int,
    ) -> None:
        super().__init__(metric=spec.metric.name, mode="min")
        self._spec = spec
        self._order = order
        self._rules = rules
        self._max_concurrent = max_concurrent
        self._number = {(cell.arm, cell.seed): number for number, cell in enumerate(order)}
        self._values = ended_values(spec.arms, ended.values())
        self._live: set[int] = set()
        self._started: set[int] = set()

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Return the suggestion for the next training.

        Returns None if Ray must wait until a running trial has ended, and FINISHED if no further
        training is needed.
        """
        needed = (self._number[cell] for cell in decide(self._values, self._rules).needed)
        waiting = [number for number in needed if number not in self._started]
        if not waiting and not self._live:
            return FINISHED
        if not waiting or len(self._live) >= self._max_concurrent:
            return None
        self._live.add(waiting[0])
        self._started.add(waiting[0])
        return suggestion_of(self._spec, waiting[0], self._order[waiting[0]])

    def on_trial_complete(
        self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False
    ) -> None:
        """Store the value of a training that has ended."""
        number = int(trial_id)
        self._live.discard(number)
        row = result or {}
        outcome = "failed" if error else row.get("outcome", "unfinished")
        if outcome in ("unfinished", "running", "stopped"):
            return
        cell, value = self._order[number], None
        if outcome == "finished":
            value = value_of(row, self._spec.metric.name)
            if self._spec.compare == "best":
                value = row.get(best_name(self._spec.metric.name), value)
        self._values[cell.arm][cell.seed] = value

    def save(self, checkpoint_path: str) -> None:
        """Write the searcher's state to the file `checkpoint_path`."""
        values = {arm: list(of_arm.items()) for arm, of_arm in self._values.items()}
        state = {"live": sorted(self._live), "started": sorted(self._started), "values": values}
        Path(checkpoint_path).write_text(json.dumps(state))

    def restore(self, checkpoint_path: str) -> None:
        """Read the searcher's state from the file `checkpoint_path`, which `save` wrote."""
        state = json.loads(Path(checkpoint_path).read_text())
        self._live, self._started = set(state["live"]), set(state["started"])
        for arm, pairs in state["values"].items():
            self._values[arm] |= {int(seed): value for seed, value in pairs}


class RoundRecords(AblationRecords):
    """Writes the records of a confirmation's trials to ablation.json and ablation.md.

    Trials that have not started are left out, unless the next look needs them.
    """

    def listed(self, trials: list[Record], started: Container[str]) -> list[Record]:
        """Return the trials that have started or that the confirmation needs."""
        assert self.rules is not None  # a confirmation has rules
        needed = decide(ended_values(self.spec.arms, trials), self.rules).needed
        return [
            trial
            for trial in trials
            if trial["trial_id"] in started or (trial["arm"], trial["seed"]) in needed
        ]


def order_of(trials: Sequence[Mapping[str, Any]], all_cells: Sequence[Cell]) -> list[Cell]:
    """Return all cells of a confirmation, in the order of their trials' numbers.

    `trials` are the trials of an earlier confirmation; they keep their numbers, also those of arms
    that are no longer among the best. The other cells get the free numbers, in the order of
    `all_cells`.
    """
    cells = {(cell.arm, cell.seed): cell for cell in all_cells}
    by_number, unused = {}, []
    for trial in trials:
        cell = Cell(trial["arm"], trial["data"], trial["seed"])
        if (cell.arm, cell.seed) not in cells:
            unused.append(cell)
        by_number[int(trial["trial_id"])] = cells.pop((cell.arm, cell.seed), cell)
    free = iter(cells.values())
    count = max(len(by_number) + len(cells), max(by_number, default=-1) + 1)
    # If arms have left the confirmation, numbers may be free. Each gets an unused cell, which is
    # never trained.
    return [by_number.get(number) or next(free, None) or unused[0] for number in range(count)]
