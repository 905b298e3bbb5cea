"""Find the checkpoint from which a trial continues: its own or another trial's checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.search.resume import MAY_CHANGE
from fastgan_ray.train.reporter import INTERRUPTED
from fastgan_ray.tune.trial.folder import Row, has_ended, resume_point
from fastgan_ray.tune.trial.objective import Task
from fastgan_ray.tune.trial.pbt import read_orders

TRAIN_MAY_CHANGE = [name.removeprefix("train.") for name in MAY_CHANGE if name.startswith("train.")]


class ResumeState(NamedTuple):
    """The configuration, the rows and the checkpoint with which a trial continues.

    `rows` are the earlier evaluations, which are not made again. `checkpoint` is None if the trial
    starts from the beginning.
    """

    config: RunConfig
    rows: list[Row]
    checkpoint: Path | None


def resume_state(task: Task) -> ResumeState | None:
    """Return the state from which a trial continues; None if the trial has ended.

    In population-based training, the search may have ordered the trial to take over another trial's
    weights. The trial then continues with the settings and the checkpoint of the last order. But if
    the trial has saved a later checkpoint itself, it continues from that checkpoint.
    """
    orders, (rows, checkpoint) = read_orders(task.folder), resume_point(task.folder)
    if has_ended(rows):
        return None
    run = task.suggestion["run"]
    if orders:  # some settings may have changed since the order
        train = {name: run["train"][name] for name in TRAIN_MAY_CHANGE}
        ordered = orders[-1]["run"]
        kept = {"resources": run["resources"], "data": run["data"]}
        run = {**ordered, **kept, "train": {**ordered["train"], **train}}
    is_stopped_since = checkpoint == task.folder / INTERRUPTED
    if orders and rows and rows[-1]["kimg"] <= orders[-1]["kimg"] and not is_stopped_since:
        checkpoint = task.folder / orders[-1]["checkpoint"]
    return ResumeState(RunConfig.model_validate(run), rows, checkpoint)
