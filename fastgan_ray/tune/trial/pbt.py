"""Population-based training: the driver orders trials to take over the weights of other trials.

The driver is the process that runs the search. When it handles a trial's report, it decides whether
the trial must take over another trial's weights. If so, it writes an order to the trial's folder.
The trial waits until its report is handled, so it finds the order before it continues. The file
orders.jsonl has all data that are needed after a restart.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.errors import UserError
from fastgan_ray.files import atomic, link_tree, linked_copy, write_atomically
from fastgan_ray.search.pbt import PopulationBasedTraining
from fastgan_ray.search.stopping import Observation

# {"number", "kimg", "donor", "point", "run" (nested RunConfig), "checkpoint" (a folder's name)}
Order = dict[str, Any]
ORDERS = "orders.jsonl"
ADA_P = "augment.ada_p"  # the only setting in checkpoints that an order may change


class TakeOverError(Exception):
    """Raised in a trial between two training steps if it must take over another trial's weights."""


def read_orders(trial: Path) -> list[Order]:
    """Return the orders that a trial has received, the oldest first.

    An order tells the trial to continue with the weights of another trial. `trial` is the trial's
    folder.
    """
    path = trial / ORDERS
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def remove_weights_of_orders(trial: Path, count: int) -> None:
    """Remove the weights that came with the first `count` orders to a trial.

    An order tells the trial to continue with the weights of another trial. These were copied to
    `trial`, the trial's folder.
    """
    for number in range(1, count + 1):
        shutil.rmtree(trial / _checkpoint_name(number), ignore_errors=True)


class WeightExchange:
    """Keeps checkpoints of the best trials, and orders bad trials to continue from them.

    Trials are compared at certain training lengths, the rungs. `trials` is the folder that contains
    all trials' folders. `configure` converts parameter values to a configuration.
    """

    def __init__(
        self,
        algorithm: PopulationBasedTraining,
        trials: Path,
        configure: Callable[[dict[str, Any]], RunConfig],
    ) -> None:
        self._algorithm = algorithm
        self._trials = trials
        self._configure = configure

    def replay(self, observation: Observation) -> None:
        """Record an observation (one evaluation) again, to restore the state after a restart.

        No order is written, because the trial has already continued after this evaluation.
        """
        self._algorithm.choose_donor(observation)

    def observe(
        self, observation: Observation, row: Mapping[str, Any], start_point: dict[str, Any]
    ) -> None:
        """Record an evaluation of a trial; if the trial must take over weights, write an order.

        `row` has everything that the trial reported about this evaluation. `start_point` has the
        parameter values with which the trial began. After a restart, the trial reports its last
        evaluation again. If there is already an order for this evaluation, no second order is
        written, because the trial may have followed the first order.
        """
        folder = self._trials / f"{observation.trial:05d}"
        orders = read_orders(folder)
        earlier = [order for order in orders if order["kimg"] < observation.kimg]
        passes_rung = self._algorithm.passes_rung(observation)
        donor = self._algorithm.choose_donor(observation)
        if not passes_rung:
            return
        point = earlier[-1]["point"] if earlier else start_point
        rung = self._algorithm.rung(observation.kimg)
        self._keep(observation.trial, rung, folder / row["checkpoint"], point)
        if donor is None or len(earlier) < len(orders):
            return
        # If the driver restarted, the donor's checkpoint may no longer exist.
        if (self._donor_folder(rung, donor) / "metadata.json").is_file():
            self._write_order(observation, folder, orders, donor)

    def _write_order(
        self, observation: Observation, folder: Path, orders: list[Order], donor: int
    ) -> None:
        source = self._donor_folder(self._algorithm.rung(observation.kimg), donor)
        donor_point = json.loads((source / "point.json").read_text())
        point = self._algorithm.perturb(donor_point, observation.trial, observation.kimg)
        try:
            run = self._configure(point)
        except UserError:  # the values are not a valid run: the trial continues unchanged
            return
        number = len(orders) + 1
        checkpoint = folder / _checkpoint_name(number)
        linked_copy(source, checkpoint)
        is_p_changed = ADA_P in self._algorithm.population.change
        _change_settings(checkpoint, run, point.get(ADA_P) if is_p_changed else None)
        order = {
            "number": number,
            "kimg": observation.kimg,
            "donor": donor,
            "point": point,
            "run": run.model_dump(),
            "checkpoint": checkpoint.name,
        }
        lines = [json.dumps(line) + "\n" for line in (*orders, order)]
        write_atomically(folder / ORDERS, "".join(lines))  # a kill leaves no incomplete line

    def _donor_folder(self, rung: int, trial: int) -> Path:
        return self._trials.parent / "population" / f"{rung:05d}" / f"{trial:05d}"

    def _keep(self, trial: int, rung: int, checkpoint: Path, point: dict[str, Any]) -> None:
        """Keep a trial's checkpoint at a rung, if other trials may take over the weights.

        `point` has the trial's parameter values. Also remove all kept checkpoints of this rung
        whose weights no trial can take over any more.
        """
        possible = self._algorithm.possible_donors(rung)
        donors = {self._donor_folder(rung, number) for number in possible}
        folder = self._donor_folder(rung, trial)
        if folder in donors and (checkpoint / "metadata.json").is_file():
            folder.parent.mkdir(parents=True, exist_ok=True)
            with atomic(folder) as draft:
                link_tree(checkpoint, draft)
                (draft / "point.json").write_text(json.dumps(point))
        for other in folder.parent.glob("*"):
            if other not in donors:
                shutil.rmtree(other)


def _change_settings(checkpoint: Path, run: RunConfig, ada_p: float | None) -> None:
    """Write the settings `run` to `checkpoint`, a copy of another trial's checkpoint.

    This is needed because a training rejects a checkpoint with other settings. The checkpoint also
    stores the augmentation's probability p; if `ada_p` is not None, it replaces p. The metadata
    file is replaced with a new file, because it may be a hard link to the other trial's file.
    """
    path = checkpoint / "metadata.json"
    metadata = json.loads(path.read_text()) | {"config": run.model_dump()}
    if ada_p is not None:
        metadata["ada"] = {"p": ada_p, "sign_sum": 0.0, "count": 0}
    write_atomically(path, json.dumps(metadata, indent=1))


def _checkpoint_name(order: int) -> str:
    return f"taken-over-{order}"
