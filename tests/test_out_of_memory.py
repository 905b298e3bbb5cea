"""A trial that takes all the memory of its machine, and is ended by Ray's memory monitor."""

from __future__ import annotations

import json
from pathlib import Path

import optuna
import psutil
import pytest
import tune_objectives as objectives
from optuna.trial import TrialState
from test_tune_search import make_spec

from fastgan_ray.tune.driver.retries import MAX_DEATHS
from fastgan_ray.tune.experiment import TuneOptions
from fastgan_ray.tune.ray.session import connected
from fastgan_ray.tune.search import run_search

ROOM = 6e9  # bytes, which other programs on the machine are unlikely to take meanwhile


@pytest.fixture
def short_of_memory(monkeypatch):
    """A Ray whose machine may take little more memory than it does now."""
    memory = psutil.virtual_memory()
    share = (memory.total - memory.available + ROOM) / memory.total
    monkeypatch.setenv("RAY_memory_usage_threshold", f"{share:.4f}")
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "50")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    with connected(None):
        yield


@pytest.mark.slow
def test_a_trial_that_takes_all_memory_is_infeasible(short_of_memory, tmp_path):
    options = TuneOptions(tmp_path, wandb="off", quiet=True, max_concurrent=1)
    space = "\n  model.ngf: {values: [64, 8, 16]}"
    folder = run_search(make_spec(3, "grid", space), options, objectives.memory_hog)
    trials = json.loads((folder / "summary.json").read_text())["trials"]
    found = {trial["point"]["model.ngf"]: trial for trial in trials}
    assert {ngf: trial["state"] for ngf, trial in found.items()} == {
        64: "finished",
        8: "out_of_memory",
        16: "stopped",
    }
    assert "low on memory" in found[8]["reason"] and found[8]["value"] is None
    # Counted by Ray: the monitor may end a process before it notes that it begins.
    deaths = (folder / "trials" / found[8]["trial_id"] / "error.txt").read_text()
    assert deaths.count("Failure # ") == MAX_DEATHS + 1

    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(folder / "study.journal"))
    )
    (study,) = optuna.get_all_study_summaries(storage)
    told = optuna.load_study(study_name=study.study_name, storage=storage).trials
    (hog,) = (one for one in told if one.user_attrs["outcome"] == "out_of_memory")
    assert hog.state == TrialState.PRUNED and max(hog.constraints.values()) > 0
