"""The product as a user runs it: real pictures, real training, Ray, W&B; killed and resumed."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import tiny
from documentation import ROOT, tree
from wandb_files import read_run

from fastgan_ray.config.run_file import load_run_config
from fastgan_ray.tune.trial.folder import read_rows
from fastgan_ray.tune.wandb.rows import CONSTANTS

SEARCH = """
name: tiny
method: bayes
metric: {name: fd_efficientnet_lite0, goal: minimize}
run_cap: 3
confirm: false
early_terminate: {type: hyperband, min_iter: 0.1, eta: 2}
base:
  model: {resolution: 32, nz: 8, ndf: 4, decoder_width: 2}
  train: {batch_size: 4, total_kimg: 0.4, reconstruction: l1}
  eval: {extractor: efficientnet_lite0, num_fakes: 4, every_kimg: 0.1}
parameters:
  model.ngf: {values: [2, 4, 8]}
  train.lr_g: {distribution: log_uniform_values, min: 1e-4, max: 1e-2}
"""
SECRETS = {
    name: f"{number:x}" * 8 + "5ec2e7" + f"{number:x}" * 50
    for number, name in enumerate(
        (
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
            "WANDB_API_KEY",
            "RAY_AUTH_TOKEN",
            "HF_TOKEN",
        ),
        start=10,
    )
}
# What differs from run to run.
VARYING = {"seconds", "images_per_second", "peak_memory_gb", "grid", "pairs", "decoded"}
pytestmark = pytest.mark.timeout(600)
PATIENCE = 240.0  # seconds after which something is stuck; passing does not wait


class Search:
    """A search in a process of its own."""

    def __init__(self, runs: Path, pictures: Path, *more: str) -> None:
        file = runs / "tiny.yaml"
        file.write_text(SEARCH)
        self.folder = runs / "tiny"
        command = [sys.executable, "-m", "fastgan_ray.tune", "--config", str(file), *more]
        command += ["--data", str(pictures), "--runs", str(runs), "--max-concurrent", "1"]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "WANDB_MODE": "offline", **SECRETS},
            start_new_session=True,
        )

    def finish(self) -> str:
        """What it printed; it must have ended well."""
        out, _ = self.process.communicate(timeout=PATIENCE)
        assert self.process.returncode == 0, out
        return out

    def summary(self) -> dict:
        return json.loads((self.folder / "summary.json").read_text())

    def wait_for_row(self, trial: str) -> None:
        """Until a trial has reported for the first time."""
        rows = self.folder / "trials" / trial / "metrics.jsonl"
        deadline = time.monotonic() + PATIENCE
        while not (rows.is_file() and rows.stat().st_size):
            assert self.process.poll() is None, self.process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def training(self) -> list[psutil.Process]:
        """The processes that train."""
        found = []
        for process in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess, IndexError):
                # Ray adds the name of the method while one runs.
                if process.cmdline()[0].startswith("ray::ImplicitFunc"):
                    found.append(process)
        return found

    def kill_trial(self) -> None:
        """SIGKILL to the process that trains."""
        (process,) = self.training()
        process.send_signal(signal.SIGKILL)

    def kill_driver(self) -> list[psutil.Process]:
        """SIGKILL to the driver; the training processes that it leaves to notice it."""
        training = self.training()
        self.process.kill()
        self.process.communicate()
        return training


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return tiny.write_pictures(tmp_path_factory.mktemp("pictures"), 6)


def values(summary: dict) -> list[dict]:
    """What must not depend on the hour or on accidents: speed and memory do."""
    trials = []
    for trial in summary["trials"]:
        costs = {key: trial["costs"].get(key) for key in ("params_g", "params_d", "gflop_g")}
        trials.append({**trial, "seconds": 0, "costs": costs})
    return trials


@pytest.fixture(scope="module")
def launch(pictures):
    """Starts searches, of which none outlives the tests."""
    started = []

    def start(runs, *more):
        started.append(Search(runs, pictures, *more))
        return started[-1]

    yield start
    for search in started:
        if search.process.returncode is None:
            search.process.kill()
            search.process.communicate()


@pytest.fixture(scope="module")
def undisturbed(launch, tmp_path_factory):
    search = launch(tmp_path_factory.mktemp("a"))
    return search, search.finish()


def test_a_search_ends_with_all_its_results(undisturbed):
    search, out = undisturbed
    summary = search.summary()
    states = [trial["state"] for trial in summary["trials"]]
    assert len(states) == 3
    assert set(states) <= {"finished", "stopped"}
    assert summary["metric"] == {"name": "fd_efficientnet_lite0", "goal": "minimize"}
    assert summary["protocol"]["num_fakes"] == 4
    best = search.folder / "best"
    config = load_run_config(best / "config.yaml")
    assert config.model_dump() == summary["best"]["config"]
    assert (search.folder / summary["best"]["checkpoint"] / "ema.safetensors").is_file()
    assert (best / "grid.png").is_file()
    missing = [name for name in tree(ROOT / "README.md") if not (search.folder / name).exists()]
    assert missing == ["confirm/"]  # its file wants none
    paths = (search.folder / "wandb").glob("offline-run-*/*.wandb")
    assert len({path.name for path in paths}) == 4  # the best trial's run is opened twice
    outcome = read_run(search.folder, "outcome")
    assert outcome.summary["trial"] == summary["best"]["trial_id"]
    assert outcome.summary["verdict"] == summary["verdict"]
    assert len(list((search.folder / "trials").glob("*/events.out.tfevents.*"))) == 3
    lines = (search.folder / "trials.csv").read_text().splitlines()
    columns = "trial_id,seed,state,value,error,num_fakes,kimg,seconds,reason,"
    columns += "last_value,best_value,best_kimg,selected_value,"
    columns += "expected,expected_low,expected_high,best_chance,model.ngf,train.lr_g"
    assert lines[0] == columns
    assert len(lines) == 4
    assert summary["verdict"] in out
    assert "wandb sync" in out
    # Nothing but our own lines and table: no banner, no warning.
    ours = ("[", "6 pictures", "tiny:", "fd_", "trial ", "0000", "Best:", "Warning:")
    ours += ("Best checkpoint", "Results:", "Report:", "To W&B:")
    assert [line for line in out.splitlines() if line and not line.startswith(ours)] == []


def test_train_with_the_configuration_of_a_trial_gives_its_numbers(undisturbed, tmp_path):
    search, _ = undisturbed
    best, out = search.folder / "best", tmp_path / "out"
    assert search.summary()["best"]["state"] == "finished"
    command = [sys.executable, "-m", "fastgan_ray", "train", "--config", str(best / "config.yaml")]
    done = subprocess.run([*command, "--out", str(out)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    if (os.cpu_count() or 1) > 1:
        assert "resources.cpus" in done.stdout, "there are more cores, and nobody says so"
    trained = out / "checkpoint-best"
    for name in sorted(path.name for path in trained.glob("*.safetensors")):
        assert (trained / name).read_bytes() == (best / "checkpoint" / name).read_bytes(), name
    ours, theirs = (
        json.loads((folder / "metadata.json").read_text())["metrics"]
        for folder in (trained, best / "checkpoint")
    )
    assert ours.keys() == theirs.keys()
    assert {name for name, value in ours.items() if theirs[name] != value} <= VARYING


def test_no_secret_of_the_environment_is_written_anywhere(undisturbed):
    search, out = undisturbed
    files = [path for path in search.folder.rglob("*") if path.is_file()]
    kinds = {path.suffix for path in files}
    assert {".json", ".yaml", ".csv", ".html", ".wandb", ".pkl", ".log"} <= kinds
    for name, secret in SECRETS.items():
        assert secret not in out, name
        assert [path for path in files if secret.encode() in path.read_bytes()] == [], name


@pytest.mark.slow
def test_killed_trial_and_killed_driver_change_no_value(undisturbed, launch, tmp_path):
    search = launch(tmp_path)
    search.wait_for_row("00000")
    search.kill_trial()
    search.wait_for_row("00002")
    left = search.kill_driver()
    resumed = launch(tmp_path, "--resume")
    resumed.finish()
    # Ray's own agents take up to a minute to notice; what trains must be gone by now.
    assert psutil.wait_procs(left, timeout=PATIENCE)[1] == []
    assert values(resumed.summary()) == values(undisturbed[0].summary())
    assert resumed.summary()["best"]["value"] == undisturbed[0].summary()["best"]["value"]
    for folder in (undisturbed[0].folder, resumed.folder):
        nothing_is_missing_in_wandb(folder)
    assert len(list(resumed.folder.glob("wandb/offline-run-*-outcome"))) == 1


@pytest.mark.slow
def test_a_closed_terminal_stops_the_search_and_closed_output_does_not(
    undisturbed, launch, tmp_path
):
    search = launch(tmp_path)
    assert search.process.stdout is not None
    search.process.stdout.readline()
    search.process.stdout.close()  # as `head -1` does
    search.wait_for_row("00001")
    for _ in range(2):  # to every process of the terminal, from the system and from the shell
        os.killpg(search.process.pid, signal.SIGHUP)
    assert search.process.wait(timeout=PATIENCE) == 129
    states = [trial["state"] for trial in search.summary()["trials"]]
    assert len(states) < 3 or "unfinished" in states
    log = (search.folder / "ray.log").read_text()
    assert "Traceback" not in log and "SIGHUP" not in log
    resumed = launch(tmp_path, "--resume")
    resumed.finish()
    assert values(resumed.summary()) == values(undisturbed[0].summary())
    nothing_is_missing_in_wandb(resumed.folder)


def nothing_is_missing_in_wandb(folder):
    """Every row and picture of every trial, stopped and killed ones too, and how it ended."""
    for trial in json.loads((folder / "summary.json").read_text())["trials"]:
        run = read_run(folder, trial["trial_id"])
        rows = read_rows(folder / "trials" / trial["trial_id"])
        logged = {row["kimg"]: row for row in run.history}
        for row in rows:
            numbers = {key: value for key, value in row.items() if isinstance(value, int | float)}
            curves = {key: value for key, value in numbers.items() if key not in CONSTANTS}
            assert curves.items() <= logged[row["kimg"]].items()
            assert numbers["params_g"] == run.summary["params_g"]
            assert {f"{key}/path" for key in ("grid", "decoded")} <= logged[row["kimg"]].keys()
        assert (run.summary["state"], run.summary["value"]) == (trial["state"], trial["value"])
