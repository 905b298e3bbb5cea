"""A search from beginning to end: its folder, Ray, the trials, the results."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray.tune
from ray.tune import Callback, PlacementGroupFactory
from ray.tune.experiment import Trial
from ray.tune.logger import TBXLoggerCallback
from rich.console import Console

from fastgan_ray.config.schema import RunConfig
from fastgan_ray.errors import UserError
from fastgan_ray.search.space import sample
from fastgan_ray.search.spec import SearchSpec, base_config, run_config, start_point
from fastgan_ray.tune.cluster import connected, silenced
from fastgan_ray.tune.resources import Resources, check_feasible, demand, fitting
from fastgan_ray.tune.results import Results, write_atomically
from fastgan_ray.tune.schedulers import make_scheduler
from fastgan_ray.tune.searcher import NumberedTrials, StudySearcher
from fastgan_ray.tune.snapshot import Snapshots, restore_snapshot, save_snapshot
from fastgan_ray.tune.table import Table
from fastgan_ray.tune.trainable import Objective, make_trainable, train_objective, trial_id
from fastgan_ray.tune.wandb_log import Mode, WandbLog, sync_line

PROJECT = "fastgan-ray"
NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
LOG_COLUMNS = 140  # of the table where there is no terminal
ASSUMED_GPU_GB = 16.0
# How often a trial whose process died starts again from its checkpoint.
MAX_DEATHS = 2
PROBES = 64


@dataclass(frozen=True)
class TuneOptions:
    """How and where a search runs; what it searches stands in its SearchSpec."""

    runs_dir: Path = Path("runs")
    name: str | None = None
    resume: bool = False
    max_concurrent: int | None = None
    wandb: Mode = "auto"
    address: str | None = None
    quiet: bool = False


def run_search(
    spec: SearchSpec, options: TuneOptions, objective: Objective = train_objective
) -> Path:
    """Run, or with `resume` go on with, a search; returns its folder, which has summary.json.

    UserError if the folder cannot be used, no machine has what a trial needs, or the pictures or
    weights are missing. Trials that go wrong are results, not errors.
    """
    name = options.name or spec.name
    if not NAME.fullmatch(name):
        raise UserError(
            "--name: must be letters, digits, '.', '_' and '-', and not start with '.' "
            f"(got {name!r})"
        )
    folder = (options.runs_dir / name).expanduser().resolve()
    open_folder(folder, spec, options.resume)
    try:
        _run(spec, options, folder, objective)
    except UserError:
        if not options.resume and not (folder / "summary.json").exists():
            shutil.rmtree(folder)  # nothing has begun, and the name is free for a mended command
        raise
    return folder


def _run(spec: SearchSpec, options: TuneOptions, folder: Path, objective: Objective) -> None:
    width = None if sys.stdout.isatty() else LOG_COLUMNS
    console = Console(file=sys.stdout, quiet=options.quiet, width=width)
    if objective is train_objective:
        preflight(base_config(spec), here=options.address is None, console=console)
    with (
        only_driver(folder),
        silenced(folder / "ray.log"),
        connected(options.address) as nodes,
    ):
        results = Results(folder, spec, folder.name)
        trials = _tune(spec, options, folder, results, nodes, objective, console)
        summary = results.write(trials, over=True)
    lines = [summary["verdict"], f"Results: {folder}"]
    if any(trial["state"] == "unfinished" for trial in summary["trials"]):
        lines.insert(0, "Stopped before the end. The same command with --resume goes on.")
    if upload := sync_line(folder):
        lines.append(f"To W&B:  {upload}")
    console.print("\n".join(lines), highlight=False, soft_wrap=True)


def open_folder(folder: Path, spec: SearchSpec, resume: bool) -> None:
    """Make the folder of a new search, or check that it holds the one to be resumed."""
    overrides = json.dumps(spec.overrides, indent=1)
    if not resume:
        if folder.exists():
            raise UserError(
                f"{folder}: there is a search of this name already. Go on with it by --resume, or "
                "choose another name by --name."
            )
        try:
            folder.mkdir(parents=True)
            write_atomically(folder / "overrides.json", overrides)
            write_atomically(folder / "search.yaml", spec.text)
        except OSError as error:
            raise UserError(
                f"{folder}: cannot be written ({error.strerror}). Choose a folder of yours with "
                "--runs."
            ) from error
        return
    if not (folder / "search.yaml").is_file():
        raise UserError(
            f"{folder}: there is no search to resume. Leave --resume out to begin one, or name it "
            "with --name and --runs."
        )
    for file, now in (("search.yaml", spec.text), ("overrides.json", overrides)):
        if (folder / file).read_text() != now:
            raise UserError(
                f"{folder / file}: differs from what is to be resumed. A search goes on as it "
                "began: restore the file and the options, or begin another one with --name."
            )


@contextlib.contextmanager
def only_driver(folder: Path) -> Iterator[None]:
    """Hold the run folder's lock; UserError if another process runs this search."""
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"{folder}: another process is running this search; end that one first."
            ) from error
        yield


def preflight(config: RunConfig, here: bool, console: Console) -> None:
    """Find out now, not in every trial, that pictures or network weights are missing.

    `here`: the trials run on this machine, so the real pictures' features are made once for all.
    """
    import torch

    from fastgan_ray.data.source import open_source
    from fastgan_ray.metrics.extractors import load_extractor
    from fastgan_ray.metrics.reference import reference_features
    from fastgan_ray.metrics.weights import require_weights

    source = open_source(config.data.model_copy(update={"limit": None}))
    require_weights(config)
    left_out = f", {len(source.skipped)} unreadable ones left out" if source.skipped else ""
    console.print(
        f"{len(source)} pictures in {source.path}{left_out}", highlight=False, soft_wrap=True
    )
    if here:
        extractor = load_extractor(config.eval.extractor, torch.device("cpu"))
        reference_features(source, config.data, extractor)


def configure(spec: SearchSpec, point: Mapping[str, Any]) -> RunConfig:
    """The configuration of a trial, with the pictures' path good in any working directory."""
    config = run_config(spec, point)
    path = config.data.path
    if path is not None and Path(path).exists():
        data = config.data.model_copy(update={"path": str(Path(path).resolve())})
        return config.model_copy(update={"data": data})
    return config


def _tune(
    spec: SearchSpec,
    options: TuneOptions,
    folder: Path,
    results: Results,
    nodes: Sequence[Resources],
    objective: Objective,
    console: Console,
) -> list[Trial]:
    """Run the trials; returns Ray's record of each."""
    trials, states = folder / "trials", folder / "state"
    trials.mkdir(exist_ok=True)
    resuming = options.resume and restore_snapshot(states, trials)
    journal = folder / "study.journal"
    if not resuming:
        journal.unlink(missing_ok=True)  # of a search killed before it had begun
    local = options.address is None and any(node.get("GPU") for node in nodes)
    gpu_gb = local_gpu_gb() if local else ASSUMED_GPU_GB
    demands = probe(spec, nodes, gpu_gb)
    check_feasible(demands, nodes)
    at_once = options.max_concurrent or fitting(demands, nodes)
    searcher = StudySearcher(spec, journal, at_once, configure)

    def needs(suggestion: dict[str, Any]) -> PlacementGroupFactory:
        config = RunConfig.model_validate(suggestion["run"])
        return PlacementGroupFactory([demand(config, nodes, gpu_gb)])

    analysis = ray.tune.run(
        ray.tune.with_resources(make_trainable(trials, spec.metric.name, objective), needs),
        name=trials.name,
        storage_path=str(folder),
        search_alg=NumberedTrials(searcher, resuming),
        scheduler=make_scheduler(spec, longest_kimg(spec), trials),
        num_samples=spec.run_cap,
        max_failures=MAX_DEATHS,
        callbacks=_callbacks(spec, options, folder, results, console),
        resume="AUTO+ERRORED" if resuming else None,
        trial_name_creator=_name,
        trial_dirname_creator=_name,
        raise_on_failed_trial=False,
        verbose=0,
    )
    save_snapshot(trials, states)
    return list(analysis.trials)


def _callbacks(
    spec: SearchSpec, options: TuneOptions, folder: Path, results: Results, console: Console
) -> list[Callback]:
    tensorboard: Callable[[], Callback] = TBXLoggerCallback
    name, metric = folder.name, spec.metric
    project = os.environ.get("WANDB_PROJECT", PROJECT)
    return [
        tensorboard(),
        WandbLog(folder, project, name, options.wandb, metric.name),
        Table(name, metric.name, metric.goal, spec.run_cap, longest_kimg(spec), console),
        results,
        Snapshots(folder / "state"),
    ]


def _name(trial: Trial) -> str:
    return trial_id(trial.config["number"])


def probe(spec: SearchSpec, nodes: Sequence[Resources], gpu_gb: float) -> list[dict[str, float]]:
    """What the default and some random configurations of the space demand."""
    rng = random.Random(0)
    points = [start_point(spec), *(sample(spec.space, rng) for _ in range(PROBES))]
    demands = []
    for point in points:
        with contextlib.suppress(UserError):  # values that do not go together: never a trial
            demands.append(demand(run_config(spec, point), nodes, gpu_gb))
    return demands


def longest_kimg(spec: SearchSpec) -> float:
    """The length of the longest trial that the space allows."""
    for parameter in spec.space:
        if parameter.name == "train.total_kimg":
            return max(parameter.high, *(v for v in parameter.values if isinstance(v, int | float)))
    return base_config(spec).train.total_kimg


def local_gpu_gb() -> float:
    """The memory of this machine's smallest GPU in GB; an assumption if it has none."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    sizes = [torch.cuda.get_device_properties(i).total_memory / 1e9 for i in range(count)]
    return min(sizes, default=ASSUMED_GPU_GB)
