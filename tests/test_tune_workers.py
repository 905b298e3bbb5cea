"""Trials of several workers: Ray Train inside of Ray Tune, with real training."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import ray
import tiny
import worker_objectives as objectives
from ray.util.state import list_actors

from fastgan_ray.config.run_config import flatten
from fastgan_ray.errors import UserError
from fastgan_ray.report.data.rows import read_rows
from fastgan_ray.search.file.read import spec_from_text
from fastgan_ray.search.file.spec import SearchSpec
from fastgan_ray.train.loop import train
from fastgan_ray.tune.experiment import TuneOptions
from fastgan_ray.tune.ray.session import connected
from fastgan_ray.tune.search import run_search
from fastgan_ray.tune.trial.objective import Objective, train_objective

pytestmark = pytest.mark.timeout(900)  # Ray starts a dozen processes for each trial
PATIENCE = 120
# One a cluster, which takes no resources: Ray Train asks it for machines.
RAYS_OWN = "_AutoscalingCoordinatorActor"
# What does not depend on the machine and its clock.
COMPARED = ("kimg", "loss/d", "loss/g", "grad/d", "logits/real", objectives.METRIC, "drift")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return tiny.write_pictures(tmp_path_factory.mktemp("pictures"), 6)


@pytest.fixture(scope="module", autouse=True)
def ray_session():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *_given()]))
        patch.setenv("WANDB_MODE", "disabled")
        with connected(None, nested=True):
            yield


def _given() -> list[str]:
    return os.environ["PYTHONPATH"].split(os.pathsep) if "PYTHONPATH" in os.environ else []


def make_spec(
    pictures: Path, workers: list[int], early: bool = False, **changes: Any
) -> SearchSpec:
    """A trial for each number of workers; `early`: the weak are stopped at 0.016 kimg."""
    settings = tiny.config(**{"data.path": str(pictures), **changes})
    fixed = flatten(settings.model_dump(exclude={"resources": {"workers"}}))
    base = "\n".join(f"  {name}: {json.dumps(value)}" for name, value in fixed.items())
    return spec_from_text(
        f"""
name: t
method: grid
metric: {{name: {objectives.METRIC}, goal: minimize}}
confirm: false
{"early_terminate: {type: hyperband, min_iter: 0.016, eta: 2}" if early else ""}
parameters:
  resources.workers: {{values: {workers}}}
base:
{base}
""",
        "t.yaml",
    )


def search(spec: SearchSpec, runs: Path, objective: Objective) -> dict[str, Any]:
    options = TuneOptions(runs_dir=runs, wandb="off", quiet=True)
    return json.loads((run_search(spec, options, objective) / "summary.json").read_text())


def alone(pictures: Path, folder: Path) -> list[dict[str, Any]]:
    """The rows of the same training in one process, this one."""
    recorder = tiny.Recorder(folder)
    train(tiny.config(**{"data.path": str(pictures)}), recorder)
    return recorder.rows


def assert_same(
    rows: list[dict[str, Any]], expected: list[dict[str, Any]], names: Sequence[str] = COMPARED
) -> None:
    assert len(rows) == len(expected) == 2
    for row, other in zip(rows, expected, strict=True):
        assert other.keys() <= row.keys()
        for name in names:
            if name in other:
                assert row[name] == pytest.approx(other[name], rel=1e-2, abs=1e-3), name


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def assert_nothing_left(trials: Path) -> None:
    """No process of a worker, no actor and no placement group."""
    pids = [int(pid) for path in trials.glob("*/pids.txt") for pid in path.read_text().split()]
    assert pids
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "processes left")
    alive = partial(list_actors, filters=[("state", "=", "ALIVE")])
    wait_until(lambda: {one.class_name for one in alive()} <= {RAYS_OWN}, "actors left")
    groups = ray.util.placement_group_table
    wait_until(lambda: {one["state"] for one in groups().values()} == {"REMOVED"}, "groups left")


@pytest.mark.slow
def test_a_search_with_two_workers_a_trial(pictures, tmp_path):
    (trial,) = search(make_spec(pictures, [2]), tmp_path, train_objective)["trials"]
    assert trial["state"] == "finished", trial["reason"]
    assert_same(read_rows(tmp_path / "t" / "trials" / "00000"), alone(pictures, tmp_path / "alone"))
    assert (tmp_path / "t" / "best" / "checkpoint" / "ema.safetensors").is_file()


@pytest.mark.slow
def test_a_killed_worker_and_an_early_stop(pictures, tmp_path):
    """Of two trials the first has one worker; in the second things happen."""
    spec = make_spec(pictures, [1, 2], early=True, **{"train.total_kimg": 0.024})
    first, second = search(spec, tmp_path, objectives.eventful)["trials"]
    trials = tmp_path / "t" / "trials"
    assert first["state"] == "finished", first["reason"]
    for rank in (0, 1):
        log = (trials / "00001" / f"worker-{rank}.txt").read_text().splitlines()
        assert log == ["the start of 2", "checkpoint-000000008 of 2"]
    unchanged = [name for name in COMPARED if name != objectives.METRIC]
    expected, rows = (read_rows(trials / name) for name in ("00000", "00001"))
    assert_same(rows, expected[:2], unchanged)
    assert second["state"] == "stopped", second["reason"]
    assert second["kimg"] == 0.016
    assert_nothing_left(trials)


@pytest.mark.slow
def test_a_worker_that_waits_for_a_dead_one_is_ended(pictures, tmp_path):
    (trial,) = search(make_spec(pictures, [2]), tmp_path, objectives.blocked)["trials"]
    assert trial["state"] == "finished", trial["reason"]


@pytest.mark.slow
def test_a_worker_that_dies_while_ray_train_starts_it(pictures, tmp_path):
    objective = objectives.Lethal(tmp_path / "died")
    (trial,) = search(make_spec(pictures, [2]), tmp_path, objective)["trials"]
    assert objective.mark.exists()
    assert trial["state"] == "finished", trial["reason"]


@pytest.mark.slow
def test_more_workers_than_there_is_room_for_are_refused_at_once(pictures, tmp_path):
    spec = make_spec(pictures, [4], **{"resources.cpus": 1000})
    with pytest.raises(UserError, match=r"1000 CPUs, 0 GPUs for each worker, but no machine"):
        search(spec, tmp_path, train_objective)
