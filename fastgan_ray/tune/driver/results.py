"""Choose the best trial; write summary.json, trials.csv, best/; verdict without confirmation."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import shutil
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fastgan_ray.config.feature_networks import shared_data_note
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.config.run_file import dump_run_config
from fastgan_ray.config.schedule import as_text
from fastgan_ray.data.described import Described, read_described
from fastgan_ray.files import atomic, link_tree, write_atomically
from fastgan_ray.metrics.names import MOMENTS, final_value
from fastgan_ray.report.data.rows import read_rows
from fastgan_ray.search.expected import EXPECTED, with_expected
from fastgan_ray.search.file.metric import Metric
from fastgan_ray.search.file.spec import DEFAULT, SearchSpec, start_point
from fastgan_ray.search.pareto import front_of
from fastgan_ray.search.repeats import configuration_key
from fastgan_ray.train.best import BEST, LAST
from fastgan_ray.tune.driver.records import Record, TrialRecords
from fastgan_ray.tune.rounds.search_best import restore_search_best
from fastgan_ray.tune.suggest.settled import settled_sentence

# The sections of the configuration that the published FastGAN defines. A trial that differs only in
# other sections is still the published default.
PUBLISHED_SECTIONS = ("model", "augment", "train")
COLUMNS = (
    *("trial_id", "seed", "state", "value", "error", "num_fakes", "kimg", "seconds", "reason"),
    *MOMENTS,
    *EXPECTED,
)
CLEAR_ERRORS = 2.0  # in standard errors; evaluation noise rarely causes a larger difference


def choose_best(records: Iterable[Record], metric: Metric) -> Record | None:
    """Return the record of the finished trial with the best metric value.

    If no trial has finished, return the record of the trial with the best value. If no trial has a
    value, return None. The value of a finished trial always comes from a full evaluation. Stopped
    and unfinished trials may have values of cheap evaluations, so they are not compared with
    finished trials.
    """
    valued = [record for record in records if record["value"] is not None]
    finished = [record for record in valued if record["state"] == "finished"]
    sign = 1 if metric.goal == "minimize" else -1
    return min(finished or valued, key=lambda r: (sign * r["value"], r["trial_id"]), default=None)


def summarise(
    records: Sequence[Record],
    spec: SearchSpec,
    name: str,
    protocol: dict[str, Any],
    pictures: Sequence[Described],
    ranking: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the content of summary.json.

    `records` have the keys in `EXPECTED`. `name` is the search's name. `protocol` says how the
    metric is measured. `pictures` describes the training pictures. `ranking` is the entry that
    `with_expected` returns.

    The best trial is the one with the best value, not the one with the best expected value. The
    user gets the generator of this trial, and the luck of its training is a part of the generator.
    """
    best = choose_best(records, spec.metric)
    default, complete = _default(records, spec)
    beats, verdict = compare_with_default(best, default, spec.metric, complete)
    return {
        "name": name,
        "metric": {"name": spec.metric.name, "goal": spec.metric.goal},
        "costs": [{"name": cost.name, "goal": cost.goal} for cost in spec.costs],
        "protocol": protocol,
        "note": shared_data_note(protocol.get("shared_data", "")),
        "pictures": pictures,
        "best": best
        and {
            "trial_id": best["trial_id"],
            "value": best["value"],
            "error": best["error"],
            **{key: best[key] for key in MOMENTS},
            "config": best["config"],
            "checkpoint": "best/checkpoint",
            "state": best["state"],
            "source": source_of(best),
        },
        "default": default
        and {key: default[key] for key in ("trial_id", "value", "error", "state")},
        "best_beats_default": beats,
        "verdict": f"{verdict} {ranking['sentence']}".rstrip(),
        "ranking": ranking,
        "confirmation": None,
        "budget": {},
        "front": front_of(records, (spec.metric, *spec.costs)),
        "trials": [
            {key: record[key] for key in (*COLUMNS, "warning", "point", "costs")}
            for record in records
        ],
    }


def compare_with_default(
    best: Record | None, default: Record | None, metric: Metric, complete: bool = True
) -> tuple[bool | None, str]:
    """Return whether the best trial is better than the published default, and a verdict as a text.

    The first value is None if the two trials cannot be compared. `best` and `default` are the
    records of the best trial and of the default's trial, or None if there is no such trial. If
    `complete` is false, the search space does not contain every published value. Then `default` is
    the trial with the nearest values.
    """
    if best is None:
        return None, "No trial has a value."
    text = f"Best: {metric.name} {best['value']:.4g} by trial {best['trial_id']}"
    if best["state"] == "unfinished":
        text = f"{text.replace('Best', 'Best so far', 1)}, at {best['kimg']:g} kimg"
    elif best["state"] != "finished":
        text += f" (not finished: {best['state']})"
    if default is None:
        return None, f"{text}. No comparison is possible, because the {DEFAULT} was not tried."
    name = f"the {DEFAULT}" + ("" if complete else " (with the nearest values in the search space)")
    if configuration_key(best["point"]) == configuration_key(default["point"]):
        return False, f"{text}. This trial is {name}; no other trial beats it so far."
    if default["value"] is None or default["state"] != "finished":
        state = default["state"].replace("_", " ")
        why = f"{name} has not finished ({state})"
        return None, f"{text}. No comparison is possible, because {why}."
    sign = 1 if metric.goal == "minimize" else -1
    better = sign * best["value"] < sign * default["value"]
    better_or_not = "better" if better else "no better"
    verdict = f"{text}, {better_or_not} than the {default['value']:.4g} of {name}"
    error = math.hypot(best["error"] or 0.0, default["error"] or 0.0)
    if better and abs(best["value"] - default["value"]) < CLEAR_ERRORS * error:
        verdict += (
            ", but the difference is within the noise of the evaluation "
            f"(standard error {error:.2g})"
        )
    return better, f"{verdict}."


class SearchRecords(TrialRecords):
    """Keeps the files of a search up to date: summary.json, trials.csv and best/."""

    def __init__(self, folder: Path, spec: SearchSpec) -> None:
        super().__init__(folder, spec.metric.name)
        self._spec = spec

    def needed(self, records: Sequence[Record]) -> Container[str]:
        """Return the id of the best ended trial, as long as no trial has finished.

        Until then, best/ may get the generator of an unfinished trial, which may become worse or
        diverge. Then best/ needs the ended trial again.
        """
        if any(record["state"] == "finished" for record in records):
            return ()
        ended = [record for record in records if record["state"] != "unfinished"]
        best = choose_best(ended, self._spec.metric)
        return () if best is None else (best["trial_id"],)

    def publish(self, records: list[Record], over: bool) -> dict[str, Any]:
        """Write summary.json, trials.csv and best/; return the content of summary.json."""
        best = choose_best(records, self._spec.metric)
        if best is not None:
            keep_best({**best, "source": source_of(best)}, self.folder)
            restore_search_best(self.folder, source_of(best))
        name, protocol = self.folder.name, _protocol(self.folder)
        rows = {
            record["trial_id"]: read_rows(self.folder / "trials" / record["trial_id"])
            for record in records
        }
        records = [with_costs(record, self._spec, rows) for record in records]
        records, ranking = with_expected(self._spec, records, rows)
        self.expected = {record["trial_id"]: record for record in records}
        pictures = read_described(self.folder)
        summary = summarise(records, self._spec, name, protocol, pictures, ranking)
        summary["settled"] = settled_sentence(self.folder, self._spec)
        write_atomically(self.folder / "trials.csv", as_csv(records, self._spec))
        write_atomically(self.folder / "summary.json", json.dumps(summary, indent=1))
        return summary


def with_costs(
    record: Record, spec: SearchSpec, rows: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Record:
    """Return the record of a trial with the values of all further metrics of the search."""
    last = rows[record["trial_id"]][-1:]
    values = {cost.name: final_value(row, cost.name) for cost in spec.costs for row in last}
    return {**record, "costs": {**values, **record["costs"]}}


def keep_best(best: Mapping[str, Any], folder: Path) -> None:
    """Replace `folder`/best with the configuration, checkpoint and sample grid of the best trial.

    `best` is the trial's record. best["source"] is the trial's folder, relative to `folder`. The
    trial's best checkpoint becomes best/checkpoint. If the trial's last checkpoint is newer, it
    becomes best/checkpoint-last. If best["best_kimg"] is None, the trial has no best checkpoint,
    and its last checkpoint becomes best/checkpoint. Weights are hard links if the file system
    supports links.

    If the trial's folder no longer has the checkpoint, nothing changes. A checkpoint is removed
    only after it was copied, so best/ already has it.
    """
    running = (FileNotFoundError, shutil.Error) if best.get("state") == "unfinished" else ()
    # A running trial may replace its checkpoint during the copying; then best/ is not changed.
    with contextlib.suppress(*running):
        _replace_best(best, folder)


def _replace_best(best: Mapping[str, Any], folder: Path) -> None:
    trial = folder / best["source"]
    last = checkpoint = trial / str(best["checkpoint"])
    if best["best_kimg"] is not None:
        checkpoint = trial / BEST
    source = json.dumps([best["source"], best["kimg"]])
    target = folder / "best"
    text = _text(checkpoint / "metadata.json")
    if not text or _text(target / ".source") == source:
        return
    metadata = json.loads(text)
    grid = trial / str(best["grid"])
    if checkpoint != last:
        grid = trial / "grids" / Path(metadata["metrics"]["grid"]).name
    with atomic(target) as draft:
        link_tree(checkpoint, draft / "checkpoint")
        if checkpoint != last and metadata["kimg"] < best["kimg"]:
            link_tree(last, draft / LAST)
        # Population-based training may have changed the settings since the best checkpoint.
        config = RunConfig.model_validate(
            metadata["config"] if checkpoint != last else best["config"]
        )
        (draft / "config.yaml").write_text(dump_run_config(config))
        if grid.is_file():
            shutil.copy(grid, draft / "grid.png")
        (draft / ".source").write_text(source)


def source_of(best: Record) -> str:
    """Return the folder of the trial with the record `best`, relative to the search's folder."""
    return f"trials/{best['trial_id']}"


def as_csv(records: Sequence[Record], spec: SearchSpec) -> str:
    """Return the records of all trials as CSV text.

    The columns are those in `COLUMNS`, then one for each searched parameter.
    """
    names = [parameter.name for parameter in spec.space]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, *names])
    for record in records:
        point = as_text(record["point"])
        writer.writerow([*(record[key] for key in COLUMNS), *(point.get(name) for name in names)])
    return text.getvalue()


def _default(records: Sequence[Record], spec: SearchSpec) -> tuple[Record | None, bool]:
    """Return the record of the trial at the published default, and whether its settings are exact.

    The record is None if there is no such trial. The settings are exact if the sections "model",
    "augment" and "train" of the trial's configuration are those of the published FastGAN. They are
    not exact if, for example, the search space excludes a published value.
    """
    start, published = start_point(spec), RunConfig().model_dump()
    for record in records:
        if start and start.items() <= record["point"].items():
            config = record["config"]
            return record, all(config[name] == published[name] for name in PUBLISHED_SECTIONS)
    return None, False


def _protocol(folder: Path) -> dict[str, Any]:
    text = _text(folder / "best" / "checkpoint" / "metadata.json")
    return dict(json.loads(text).get("protocol", {})) if text else {}


def _text(path: Path) -> str:
    return path.read_text() if path.is_file() else ""
