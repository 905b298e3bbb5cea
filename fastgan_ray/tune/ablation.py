"""Run an ablation on Ray: its trials and their order, ablation.json, ablation.md, curves.

There is one trial for each arm, data set and seed, without early stopping.
"""

from __future__ import annotations

import json
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

from ray.tune.search import Searcher
from rich.console import RenderableType

from fastgan_ray.data.described import read_described
from fastgan_ray.files import write_atomically
from fastgan_ray.metrics.names import MOMENTS
from fastgan_ray.report.charts import curve_files
from fastgan_ray.report.data.ablation import summarise
from fastgan_ray.report.data.learning_curves import arm_curves, curve_metric
from fastgan_ray.report.data.rows import read_rows
from fastgan_ray.report.tables import ablation as tables
from fastgan_ray.search.ablation import (
    AblationSpec,
    Cell,
    Moment,
    arm_config,
    cell_config,
    cells,
    data_name,
)
from fastgan_ray.search.cost.estimate import gflop_per_image
from fastgan_ray.search.file.read_ablation import ablation_from_text
from fastgan_ray.search.resume import ablation_changes
from fastgan_ray.search.sequential import Rules
from fastgan_ray.tune.driver.records import Record, TrialRecords
from fastgan_ray.tune.driver.repeated_failures import FAILURES_IN_A_ROW
from fastgan_ray.tune.driver.run_experiment import run_experiment
from fastgan_ray.tune.experiment import Experiment, TuneOptions
from fastgan_ray.tune.preflight import absolute_paths
from fastgan_ray.tune.ray.compat import FINISHED
from fastgan_ray.tune.trial.folder import trial_name
from fastgan_ray.tune.trial.objective import Objective, train_objective

UNSTARTED = {
    **{"state": "unfinished", "value": None, "kimg": 0.0, "seconds": 0.0},
    **dict.fromkeys(MOMENTS),
}


def run_ablation(
    spec: AblationSpec, options: TuneOptions, objective: Objective = train_objective
) -> Path:
    """Run an ablation, or continue it if `options.resume` is true; return the ablation's folder.

    The file ablation.json in this folder has the results. `objective` is the function that each
    trial runs. Raises the errors that `run_experiment` raises.
    """
    return run_experiment(ablation_of(spec, cells(spec)), options, objective)


def ablation_of(
    spec: AblationSpec, order: Sequence[Cell], ended: Mapping[str, Record] | None = None
) -> Experiment:
    """Return an experiment that has one trial for each cell in `order`.

    A cell is an arm, a data set and a seed. The trial of the cell `order[i]` has the number i.
    `ended` has the trials that do not run again: it is a dict from a trial's name to the trial's
    record in ablation.json.
    """
    ended = ended or {}
    configs = [
        cell_config(spec, Cell(arm, data, spec.seeds[0])) for arm in spec.arms for data in spec.data
    ]

    def changes(text: str, overrides: Mapping[str, Any], same_pictures: bool) -> list[str]:
        before = ablation_from_text(text, "ablation.yaml", overrides["set"], overrides["seeds"])
        return ablation_changes(before, spec, same_pictures)

    return Experiment(
        kind="ablation",
        name=spec.name,
        text=spec.text,
        overrides={"set": spec.overrides, "seeds": list(spec.seeds)},
        changes=changes,
        configure=lambda suggestion: _configure(spec, order[suggestion["number"]]),
        metric=spec.metric,
        trial_count=len(order) - len(ended),
        longest_kimg=max(config.train.total_kimg for config in configs),
        inputs=configs,
        sample_configs=configs,
        summary_file="ablation.json",
        make_searcher=lambda folder, limit, resuming: CellSearcher(spec, order, ended, limit),
        make_scheduler=lambda trials: None,
        make_records=lambda folder: AblationRecords(folder, spec, order, ended),
        closing=closing,
        default={"arm": spec.baseline},
        # If this many trials in a row fail, trials of every arm fail. So the cause is not an arm.
        failures_in_a_row=max(FAILURES_IN_A_ROW, len(configs)),
    )


def closing(summary: dict[str, Any]) -> list[RenderableType]:
    """Return the table of results and its notes, which are printed at the end of an ablation.

    `summary` is the content of ablation.json.
    """
    return [tables.on_terminal(summary), *tables.notes(summary)]


def suggestion_of(spec: AblationSpec, number: int, cell: Cell) -> dict[str, Any]:
    """Return a searcher's suggestion for a cell, whose trial has the number `number`.

    "point" has the keys "arm", "data" and "seed". "run" is the cell's configuration as nested
    dicts.
    """
    point = {"arm": cell.arm, "data": data_name(cell.data), "seed": cell.seed}
    return {"number": number, "point": point, "run": _configure(spec, cell)}


class CellSearcher(Searcher):
    """A searcher of Ray Tune that suggests the cells of an ablation one after another.

    A cell is an arm, a data set and a seed. `order` has all cells; the number of a cell's trial is
    the cell's position in `order`. `ended` has the names of the trials that do not run again; the
    cells of these trials are skipped. At most `max_concurrent` trials run at the same time.
    """

    def __init__(
        self, spec: AblationSpec, order: Sequence[Cell], ended: Container[str], max_concurrent: int
    ) -> None:
        super().__init__(metric=spec.metric.name, mode="min")
        self._spec = spec
        self._cells = list(order)
        self._ended = ended
        self._max_concurrent = max_concurrent
        self._next = 0
        self._live: set[str] = set()

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Return the suggestion for the next cell.

        Returns None if `max_concurrent` trials are running, and FINISHED if no cell is left.
        """
        while self._next < len(self._cells) and trial_name(self._next) in self._ended:
            self._next += 1
        if self._next == len(self._cells):
            return FINISHED
        if len(self._live) >= self._max_concurrent:
            return None
        number, cell = self._next, self._cells[self._next]
        self._next += 1
        self._live.add(trial_name(number))
        return suggestion_of(self._spec, number, cell)

    def on_trial_complete(
        self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False
    ) -> None:
        """Allow another trial to start, because the trial `trial_id` has ended."""
        self._live.discard(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Write the searcher's state to the file `checkpoint_path`."""
        state = {"next": self._next, "live": sorted(self._live)}
        Path(checkpoint_path).write_text(json.dumps(state))

    def restore(self, checkpoint_path: str) -> None:
        """Read the searcher's state from the file `checkpoint_path`, which `save` wrote."""
        state = json.loads(Path(checkpoint_path).read_text())
        self._next, self._live = state["next"], set(state["live"])


class AblationRecords(TrialRecords):
    """Writes the records of an ablation's trials to ablation.json and ablation.md.

    When no more trials will run, the learning curves are also written, as a table and as pictures.
    Each trial that has ended keeps its evaluations and the weights that generate samples
    (ema.safetensors). `rules` is None, except for a confirmation (see `summarise`).
    """

    def __init__(
        self,
        folder: Path,
        spec: AblationSpec,
        order: Sequence[Cell],
        ended: Mapping[str, Record],
        rules: Rules | None = None,
    ) -> None:
        super().__init__(folder, spec.metric.name)
        self.rules = rules
        self._ended_before = ended
        self.spec = spec
        self._order = order
        self._gflop = {arm: gflop_per_image(arm_config(spec, arm)) for arm in spec.arms}

    def publish(self, records: list[Record], over: bool) -> dict[str, Any]:
        """Write ablation.json and ablation.md; return the content of ablation.json.

        If `over` is true, no more trials will run. Then the learning curves are also drawn.
        """
        by_name = {**self._ended_before, **{record["trial_id"]: record for record in records}}
        trials = [
            self._trial(trial_name(number), cell, by_name.get(trial_name(number)))
            for number, cell in enumerate(self._order)
        ]
        trials = self.listed(trials, {*by_name})
        summary = summarise(self.spec, self.folder.name, trials, self._gflop, self.rules)
        summary["pictures"] = read_described(self.folder)
        write_atomically(self.folder / "ablation.json", json.dumps(summary, indent=1))
        write_atomically(self.folder / "ablation.md", tables.markdown(summary, "curves.svg"))
        if over:
            metric = curve_metric(trials, self.spec.metric.name)
            curves = arm_curves(trials, metric)
            write_atomically(self.folder / "curves.csv", curve_files.as_csv(curves))
            curve_files.draw(curves, summary, metric, self.folder / "curves")
        return summary

    def listed(self, trials: list[Record], started: Container[str]) -> list[Record]:
        """Return the trials that belong into ablation.json; `started` has ids of trials."""
        return trials

    def discard(self, checkpoint: Path) -> None:
        """Remove all weights in `checkpoint` except the weights that generate samples.

        The removed weights are needed only to continue the training.
        """
        for path in checkpoint.glob("*.safetensors"):
            if path.name != "ema.safetensors":
                path.unlink()

    def _trial(self, name: str, cell: Cell, record: Record | None) -> dict[str, Any]:
        """Return the entry of ablation.json for one trial.

        `name` is the trial's id, and `cell` is its arm, data set and seed. `record` has the trial's
        results; it is None if the trial has not started.
        """
        record = record or {**UNSTARTED, "reason": "not started"}
        folder = self.folder / "trials" / name
        return {
            "trial_id": name,
            "arm": cell.arm,
            "data": data_name(cell.data),
            "seed": cell.seed,
            **{key: record[key] for key in ("state", "kimg", "seconds", "reason", *MOMENTS)},
            "value": _compared(record, self.spec.compare),
            "rows": read_rows(folder),
            "protocol": _protocol(folder),
        }


def _compared(record: Record, compare: Moment) -> float | None:
    """Return the metric value by which a trial is compared with other trials.

    `compare` is "best" or "last". For "best", return the metric value of the trial's best
    checkpoint; if there is no such value, return the value of the last evaluation. For "last",
    return the value of the last evaluation.
    """
    best: float | None = record["best_value"]
    last: float | None = record["last_value"]
    return last if compare == "last" or best is None else best


def _configure(spec: AblationSpec, cell: Cell) -> dict[str, Any]:
    """Return a cell's configuration as nested dicts, with the keys of a RunConfig.

    The paths of input files, such as the pictures, are absolute.
    """
    return absolute_paths(cell_config(spec, cell)).model_dump()


def _protocol(trial: Path) -> dict[str, Any]:
    """Return the protocol in the newest checkpoint of a trial; {} if there is no checkpoint.

    The protocol says how the metric is measured. `trial` is the trial's folder.
    """
    files = sorted(trial.glob("checkpoint-*/metadata.json"))
    return dict(json.loads(files[-1].read_text()).get("protocol", {})) if files else {}
