"""Kills at random moments, on a cluster of two nodes: no trial, value or resource is lost.

What is killed when, in numbers of evaluations, is drawn from a seed. The training is a small one:
that the real one resumes bit for bit is shown in test_interrupt.py and test_product.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
import tune_objectives as objectives
from ray.cluster_utils import Cluster
from ray.util import placement_group_table

from fastgan_ray.errors import InterruptedRunError
from fastgan_ray.search.file.read import spec_from_text
from fastgan_ray.tune.experiment import TuneOptions
from fastgan_ray.tune.ray.session import set_token
from fastgan_ray.tune.search import run_search

SEARCH = """
name: chaos
method: random
metric: {name: fd_efficientnet_lite0, goal: minimize}
run_cap: 4
seed: 5
base:
  eval: {extractor: efficientnet_lite0, every_kimg: 1}
  train: {total_kimg: 12}
parameters:
  model.ngf: {values: [8, 16, 32, 64]}
  train.lr_g: {distribution: log_uniform_values, min: 1e-3, max: 1e-1}
"""
DRIVER = """
import sys, test_chaos
test_chaos.drive(*sys.argv[1:])
"""
EVALUATIONS = 4 * 12
KILLS = {
    "trial": 8,
    "trial, politely": 5,
    "worker": 3,
    "driver": 4,
    "driver, politely": 2,
}
AGAIN = 4  # of the kills of trials come twice: the process that takes over dies as it starts
MARK = "FASTGAN_RAY_CHAOS"
PATIENCE = 2400.0  # for all of it; minutes on an idle machine

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2 * PATIENCE)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two nodes on this machine; everything that they start carries a mark in its environment."""
    with pytest.MonkeyPatch.context() as patch:
        set_token()
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        patch.setenv(MARK, uuid.uuid4().hex)
        found = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        found.add_node(num_cpus=1)
        found.wait_for_nodes()
        yield found
        found.shutdown()


def drive(runs: str, address: str, resume: str = "") -> None:
    """What a driver's process does."""
    options = TuneOptions(Path(runs), resume=bool(resume), wandb="off", address=address)
    try:
        run_search(spec_from_text(SEARCH, "chaos.yaml"), options, objectives.stepwise)
    except InterruptedRunError as error:
        sys.exit(error.status)


class Driver:
    """A search in a process of its own, which can be killed and resumed."""

    def __init__(self, runs: Path, address: str) -> None:
        runs.mkdir()
        self.folder = runs / "chaos"
        self._command = [sys.executable, "-c", DRIVER, str(runs), address]
        self._log = (runs / "log.txt").open("w")
        self.start()

    def start(self, *more: str) -> None:
        self.process = subprocess.Popen(
            [*self._command, *more],
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        )

    def stop(self, number: int, status: int) -> None:
        """A signal, the end, and the command again with --resume."""
        self.process.send_signal(number)
        assert self.process.wait(PATIENCE) in (status, 0), self.told()
        self.start("resume")

    def rows(self) -> int:
        """Evaluations in the folder, of all trials."""
        return sum(evaluations(trial) for trial in self.folder.glob("trials/[0-9]*"))

    def summary(self) -> dict[str, Any]:
        return json.loads((self.folder / "summary.json").read_text())

    def close(self) -> None:
        """End what a failed test has left."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._log.close()

    def told(self) -> str:
        self._log.flush()
        return Path(self._log.name).read_text()


@pytest.fixture
def start() -> Iterator[Callable[[Path, str], Driver]]:
    """Starts drivers, of which none outlives the test."""
    started: list[Driver] = []

    def new(runs: Path, address: str) -> Driver:
        started.append(Driver(runs, address))
        return started[-1]

    yield new
    for driver in started:
        driver.close()


def marked(name: str = "") -> list[psutil.Process]:
    """The cluster's processes whose command begins with `name`."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            ours = process.environ().get(MARK) == os.environ[MARK] and process.pid != os.getpid()
            if ours and " ".join(process.cmdline()).startswith(name):
                found.append(process)
    return found


def schedule(rng: random.Random) -> list[tuple[int, str]]:
    """How many evaluations there are when something is killed, and what."""
    kinds = [kind for kind, count in KILLS.items() for _ in range(count)]
    rng.shuffle(kinds)
    return sorted(
        zip(sorted(rng.choices(range(EVALUATIONS - 6), k=len(kinds))), kinds, strict=True)
    )


class Havoc:
    """Kills as scheduled, each trial only after it got on since it was killed before, but for
    `AGAIN` deaths at a start: a trial that never gets on is given up, and rightly."""

    def __init__(self, driver: Driver, rng: random.Random, deadline: float) -> None:
        self.killed: Counter[str] = Counter()
        self._driver, self._rng, self._deadline = driver, rng, deadline
        self._again = set(rng.sample(range(KILLS["trial"]), AGAIN))
        self._rows: dict[str, int] = {}

    def wreak(self) -> None:
        for rows, kind in schedule(self._rng):
            self._until(lambda rows=rows: self._driver.rows() >= rows)
            time.sleep(self._rng.uniform(0, 0.3))  # somewhere between two evaluations
            if kind == "driver":
                self._driver.stop(signal.SIGKILL, -signal.SIGKILL)
            elif kind == "driver, politely":
                self._driver.stop(signal.SIGTERM, 143)
            elif kind == "worker":
                if not (idle := self._until(lambda: marked("ray::IDLE"))):
                    continue
                end(self._rng.choice(idle).pid, signal.SIGKILL)
            elif not self._kill_trial(kind):
                continue
            self.killed[kind] += 1

    def _kill_trial(self, kind: str) -> bool:
        found = self._until(self._training)
        if not found:
            return False
        trial, pid = self._rng.choice(found)
        self._rows[trial.name] = evaluations(trial)
        end(pid, signal.SIGTERM if "politely" in kind else signal.SIGKILL)
        if kind == "trial" and self.killed[kind] in self._again:
            log = trial / "pid.txt"
            if self._until(lambda: log.read_text() not in ("", str(pid))):
                end(int(log.read_text()), signal.SIGKILL)
                self.killed["trial, as it starts"] += 1
        return True

    def _training(self) -> list[tuple[Path, int]]:
        """Trials that got on since they were killed, and their processes."""
        alive = {process.pid for process in marked("ray::ImplicitFunc")}
        return [
            (path.parent, int(path.read_text()))
            for path in sorted(self._driver.folder.glob("trials/*/pid.txt"))
            if path.read_text() in map(str, alive)
            and evaluations(path.parent) > self._rows.get(path.parent.name, -1)
        ]

    def _until(self, condition: Callable[[], Any]) -> Any:
        """Wait for what becomes true or the driver's end; what the condition was then."""
        while not (found := condition()) and self._driver.process.poll() is None:
            assert time.monotonic() < self._deadline, self._driver.told()
            time.sleep(0.05)
        return found


def end(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def evaluations(trial: Path) -> int:
    rows = trial / "metrics.jsonl"
    return rows.read_text().count("\n") if rows.is_file() else 0


def values(summary: dict[str, Any]) -> list[dict[str, Any]]:
    return [{key: one[key] for key in one if key != "seconds"} for one in summary["trials"]]


def lasting(folder: Path) -> list[list[dict[str, Any]]]:
    """What every trial measured at every evaluation."""
    return [
        [
            {key: value for key, value in json.loads(line).items() if key != "grid"}
            for line in path.read_text().splitlines()
        ]
        for path in sorted(folder.glob("trials/*/metrics.jsonl"))
    ]


def test_a_search_survives_many_deaths(cluster, start, tmp_path):
    deadline = time.monotonic() + PATIENCE
    whole = start(tmp_path / "whole", cluster.address)
    assert whole.process.wait(PATIENCE) == 0, whole.told()
    began = time.monotonic()
    driver = start(tmp_path / "killed", cluster.address)
    havoc = Havoc(driver, random.Random(7), deadline)
    havoc.wreak()
    killed = havoc.killed
    assert driver.process.wait(PATIENCE) == 0, driver.told()
    print(f"{sum(killed.values())} kills in {time.monotonic() - began:.0f} s: {dict(killed)}")
    assert sum(killed.values()) >= 20

    summary = driver.summary()
    assert [trial["state"] for trial in summary["trials"]] == 4 * ["finished"]
    assert all(trial["reason"] for trial in summary["trials"])
    assert values(summary) == values(whole.summary())
    assert summary["best"] == whole.summary()["best"]
    assert lasting(driver.folder) == lasting(whole.folder)
    assert not list(driver.folder.glob("trials/*/*checkpoint-*")), "half written ones are gone"

    ray.init(cluster.address, log_to_driver=False)
    try:
        groups = placement_group_table().values()
        assert {group["state"] for group in groups} <= {"REMOVED"}
        assert not marked("ray::ImplicitFunc"), "a trial outlived its search"
        have, free = ray.cluster_resources(), ray.available_resources()
        assert free["CPU"] == have["CPU"] == 2
    finally:
        ray.shutdown()
    cluster.shutdown()
    left = psutil.wait_procs(marked(), timeout=90)[1]
    assert not left, [process.cmdline() for process in left]
