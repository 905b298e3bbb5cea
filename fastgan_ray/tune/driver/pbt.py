"""Population-based training between processes: orders in a trial's folder, and links to weights.

The driver writes an order while it has a trial's report in hand, so before the trial goes on, and
the trial finds it there. Whatever is to be known after a restart stands in `orders.jsonl`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.search.pbt import PopulationBasedTraining
from fastgan_ray.search.stopping import Observation
from fastgan_ray.tune.trial.folder import linked_copy, write_atomically

Order = dict[str, Any]  # number, kimg, donor, point, run (nested RunConfig), checkpoint (its name)
ORDERS = "orders.jsonl"


class TakeOverError(Exception):
    """Raised inside a trial, between two steps, when it is to go on from another's weights."""


def orders(trial: Path) -> list[Order]:
    """The orders that a trial was given, oldest first."""
    path = trial / ORDERS
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def drop_taken_over(trial: Path, count: int) -> None:
    """Remove the weights that came with a trial's first `count` orders."""
    for number in range(count):
        shutil.rmtree(trial / _taken_over(number + 1), ignore_errors=True)


class WeightExchange:
    """Keeps the best trials' checkpoints of each rung, and gives orders."""

    def __init__(
        self,
        exchange: PopulationBasedTraining,
        trials: Path,
        configure: Callable[[dict[str, Any]], RunConfig],
    ) -> None:
        self._exchange = exchange
        self._trials = trials
        self._configure = configure

    def remember(self, reading: Observation) -> None:
        """Take in a report of before a restart, which has been decided on."""
        self._exchange.donor(reading)

    def observe(self, reading: Observation, row: Mapping[str, Any], point: dict[str, Any]) -> None:
        """Take in a report at `row`; `point` is what its trial began with. Orders, if it is due."""
        trial = self._trials / f"{reading.trial:05d}"
        given = orders(trial)
        current = given[-1]["point"] if given else point
        passes, donor = self._exchange.passes(reading), self._exchange.donor(reading)
        if not passes:
            return
        rung = self._exchange.rung(reading.kimg)
        self._keep(reading.trial, rung, trial / row["checkpoint"], current)
        if donor is None:
            return
        source = self._kept(rung) / f"{donor:05d}"
        if not (source / "metadata.json").is_file():
            return  # of before a restart of which nothing was kept
        settings = json.loads((source / "point.json").read_text())
        changed = self._exchange.perturb(settings, reading.trial, reading.kimg)
        name = _taken_over(len(given) + 1)
        linked_copy(source, trial / name)
        run = self._configure(changed).model_dump()
        _change_settings(trial / name, run)
        order = {
            "number": len(given) + 1,
            "kimg": reading.kimg,
            "donor": donor,
            "point": changed,
            "run": run,
            "checkpoint": name,
        }
        with (trial / ORDERS).open("a") as file:
            file.write(json.dumps(order) + "\n")

    def _kept(self, rung: int) -> Path:
        return self._trials.parent / "population" / f"{rung:05d}"

    def _keep(self, trial: int, rung: int, checkpoint: Path, point: dict[str, Any]) -> None:
        promising = {f"{number:05d}" for number in self._exchange.promising(rung)}
        name = f"{trial:05d}"
        if name in promising and (checkpoint / "metadata.json").is_file():
            linked_copy(checkpoint, self._kept(rung) / name)
            (self._kept(rung) / name / "point.json").write_text(json.dumps(point))
        if self._kept(rung).is_dir():
            for path in self._kept(rung).iterdir():
                if path.name not in promising:
                    shutil.rmtree(path)


def _change_settings(checkpoint: Path, run: dict[str, Any]) -> None:
    """Have a checkpoint go on with other settings: a training refuses those it was not made with.

    The file is replaced, not written to: the donor's is linked to it.
    """
    path = checkpoint / "metadata.json"
    metadata = json.loads(path.read_text()) | {"config": run}
    write_atomically(path, json.dumps(metadata, indent=1))


def _taken_over(order: int) -> str:
    return f"taken-over-{order}"
