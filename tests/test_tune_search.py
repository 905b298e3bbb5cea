"""Real searches through Ray with a stand-in for training."""

from __future__ import annotations

import csv
import ipaddress
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import tune_objectives as objectives
from ray._raylet import AuthenticationMode, get_authentication_mode

from fastgan_ray.config.run_file import load_run_config
from fastgan_ray.errors import UserError
from fastgan_ray.search.confirmation import used_seeds
from fastgan_ray.search.file.read import spec_from_text
from fastgan_ray.search.file.spec import SearchSpec
from fastgan_ray.tune.experiment import TuneOptions
from fastgan_ray.tune.ray.session import connected
from fastgan_ray.tune.search import run_search
from fastgan_ray.tune.trial.objective import Objective

SPACE = """
  model.ngf: {values: [8, 16, 32, 64]}
  train.lr_g: {distribution: log_uniform_values, min: 1e-5, max: 1e-2}"""


def make_spec(
    cap: int = 4, method: str = "bayes", space: str = SPACE, early: bool = True, extra: str = ""
) -> SearchSpec:
    return spec_from_text(
        f"""
name: t
method: {method}
metric: {{name: {objectives.METRIC}, goal: minimize}}
run_cap: {cap}
confirm: false
seed: 3
{"early_terminate: {type: hyperband, min_iter: 2, eta: 2}" if early else ""}
base: {{eval: {{extractor: efficientnet_lite0, every_kimg: 1}}, train: {{total_kimg: 8}} {extra}}}
parameters:{space}
""",
        "t.yaml",
    )


@pytest.fixture(scope="module", autouse=True)
def ray_session():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        patch.setenv("WANDB_MODE", "disabled")
        with connected(None):
            yield


def search(spec: SearchSpec, runs: Path, objective: Objective, **more: Any) -> dict[str, Any]:
    options = TuneOptions(runs_dir=runs, wandb="off", quiet=True, **more)
    folder = run_search(spec, options, objective)
    return json.loads((folder / "summary.json").read_text())


def ran(runs: Path, trial: str) -> list[str]:
    return (runs / "t" / "trials" / trial / "ran.txt").read_text().split("\n")[:-1]


def without_times(summary: dict[str, Any]) -> dict[str, Any]:
    return {**summary, "trials": [{**trial, "seconds": 0} for trial in summary["trials"]]}


def test_trials_without_a_gpu_follow_each_other_in_a_process(tmp_path):
    space = "\n  model.ngf: {values: [64, 32, 16, 8]}"
    summary = search(
        make_spec(space=space), tmp_path, objectives.named_by_process, max_concurrent=1
    )
    states = {trial["state"] for trial in summary["trials"]}
    assert states == {"finished", "stopped", "failed"}
    assert len({ran(tmp_path, trial["trial_id"])[0] for trial in summary["trials"]}) == 1


def test_sequential_search_is_reproducible_and_stops_the_weak(tmp_path):
    first = search(make_spec(8), tmp_path / "a", objectives.smooth, max_concurrent=1)
    second = search(make_spec(8), tmp_path / "b", objectives.smooth, max_concurrent=1)
    assert without_times(first) == without_times(second)

    by_state = {trial["trial_id"]: trial["state"] for trial in first["trials"]}
    assert list(by_state) == [f"{number:05d}" for number in range(8)]
    assert set(by_state.values()) == {"finished", "stopped"}
    for trial in first["trials"]:
        assert (trial["kimg"] == 8) == (trial["state"] == "finished")
        assert len(ran(tmp_path / "a", trial["trial_id"])) == 1 + trial["kimg"]

    best = first["best"]
    finished = [t["value"] for t in first["trials"] if t["state"] == "finished"]
    assert best["value"] == min(finished)
    assert first["default"]["trial_id"] == "00000"
    assert first["best_beats_default"] is True
    assert first["protocol"] == {"test": 1}

    folder = tmp_path / "a" / "t"
    assert load_run_config(folder / "best" / "config.yaml").model_dump() == best["config"]
    checkpoint = json.loads((folder / best["checkpoint"] / "metadata.json").read_text())
    assert checkpoint["kimg"] == 8
    assert (folder / "best" / "grid.png").is_file()
    assert not list(folder.glob("trials/*/checkpoint-*")), "losers stay on the disk"
    rows = list(csv.DictReader((folder / "trials.csv").read_text().splitlines()))
    assert [row["trial_id"] for row in rows] == list(by_state)
    assert list(folder.glob("trials/00000/events.out.tfevents*"))


def test_each_configuration_that_finishes_is_trained_with_several_seeds(tmp_path):
    spec = replace(make_spec(8), seeds=2)
    summary = search(spec, tmp_path, objectives.smooth, max_concurrent=2)
    folder, trials = tmp_path / "t", summary["trials"]
    assert [trial["trial_id"] for trial in trials] == [f"{number:05d}" for number in range(8)]
    seeds_and_states: dict[str, list[tuple[int, str]]] = {}
    for trial in trials:
        assert trial["point"]["train.seed"] == trial["seed"]
        key = str({**trial["point"], "train.seed": None})
        seeds_and_states.setdefault(key, []).append((trial["seed"], trial["state"]))
    assert all(
        parts in ([(0, "stopped")], [(0, "finished"), (1, "finished")])
        for parts in seeds_and_states.values()
    )
    assert [(0, "finished"), (1, "finished")] in seeds_and_states.values()
    assert used_seeds(spec, summary) == {0, 1}
    rows = list(csv.DictReader((folder / "trials.csv").read_text().splitlines()))
    assert [int(row["seed"]) for row in rows] == [trial["seed"] for trial in trials]
    assert "train.seed" in (folder / "report.html").read_text()


def test_whatever_goes_wrong_in_a_trial_is_a_result(tmp_path):
    space = "\n  model.ngf: {values: [8, 16, 32, 64, 128]}"
    spec = make_spec(5, "grid", space, early=False)
    summary = search(spec, tmp_path, objectives.troubled, max_concurrent=2)
    got = {trial["point"]["model.ngf"]: trial for trial in summary["trials"]}
    assert {ngf: trial["state"] for ngf, trial in got.items()} == {
        8: "diverged",
        16: "out_of_memory",
        32: "failed",
        64: "diverged",
        128: "finished",
    }
    assert got[8]["reason"] == "loss/d is not finite at step 12"
    assert "can't allocate memory" in got[16]["reason"]
    assert got[32]["reason"] == "KeyError: 'bug'"
    assert got[64]["reason"] == f"{objectives.METRIC} is nan at 2.0 kimg"
    assert all(got[ngf]["value"] is None for ngf in (8, 16, 32, 64))
    assert summary["best"]["trial_id"] == got[128]["trial_id"]
    assert summary["best_beats_default"] is None
    assert (
        "published default (with the nearest values in the search space) has not finished "
        "(diverged)" in summary["verdict"]
    )
    assert "NaN" not in (tmp_path / "t" / "summary.json").read_text()


def test_killed_process_goes_on_from_its_checkpoint(tmp_path):
    summary = search(make_spec(1, early=False), tmp_path, objectives.killed_once)
    assert summary["trials"][0]["state"] == "finished"
    log = ran(tmp_path, "00000")
    resumed = log.index(next(line for line in log if line.startswith("begin")))
    assert log[resumed] in ("begin at 1", "begin at 2")
    start = int(log[resumed].split()[-1])
    assert log[resumed + 1 :] == [f"{kimg}" for kimg in range(start + 1, 9)]


def test_names_and_folders_that_are_refused(tmp_path):
    spec = make_spec(1)
    (tmp_path / "t").mkdir()
    with pytest.raises(UserError, match=r"--resume, or .*--name"):
        search(spec, tmp_path, objectives.smooth)
    with pytest.raises(UserError, match="no search to resume"):
        search(spec, tmp_path, objectives.smooth, resume=True, name="other")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        search(spec, tmp_path / "file", objectives.smooth)


def connections(process: psutil.Process) -> list[Any]:
    """Its sockets; none of one that has just ended, as Ray's helpers do."""
    try:
        return list(process.net_connections("inet"))
    except psutil.NoSuchProcess:
        return []


def test_ray_listens_on_loopback_only_and_asks_for_a_token():
    """Whoever reaches its ports and is not asked for one runs code as this user."""
    ours = psutil.Process()
    listening = {
        str(ipaddress.ip_address(connection.laddr.ip.removeprefix("::ffff:")))
        for process in (ours, *ours.children(recursive=True))
        for connection in connections(process)
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}
    assert get_authentication_mode() == AuthenticationMode.TOKEN
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64


def test_infeasible_request_is_refused_at_once(tmp_path):
    spec = make_spec(1, extra=", resources: {cpus: 9999}")
    with pytest.raises(UserError, match=r"a trial needs 9999 CPUs.*no machine has that"):
        search(spec, tmp_path, objectives.smooth)
