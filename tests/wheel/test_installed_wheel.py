"""The wheel in an environment of its own, in a folder without a checkout (make wheel)."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

import fastgan_ray

pytestmark = [pytest.mark.wheel, pytest.mark.timeout(600)]

PROGRAM = Path(__file__).parents[2] / ".venv-wheel" / "bin" / "fastgan-ray"
CHANGES = ("train.total_kimg=2.1", "eval.num_fakes=16", "eval.early_fakes=16")
SMALL = (*(word for change in CHANGES for word in ("--set", change)), "--max-concurrent", "1")
TRIAL = Path("runs/demo/trials/00000")


@pytest.fixture
def environment():
    """The variables of a user who has never seen the checkout."""
    assert PROGRAM.is_file(), f"{PROGRAM} does not exist; run: make wheel"
    variables = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return {**variables, "WANDB_MODE": "disabled"}


def run(environment, folder, *words):
    done = subprocess.run(
        [PROGRAM, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_installed_program_knows_its_presets(environment, tmp_path):
    assert run(environment, tmp_path, "--version").strip() == fastgan_ray.__version__
    rows = json.loads(run(environment, tmp_path, "presets", "--json"))
    assert {"demo", "fewshot", "ablation_demo"} <= {row["name"] for row in rows}
    run(environment, tmp_path, "presets", "demo", "--write", "mine.yaml")
    assert ".venv-wheel" in (tmp_path / "mine.yaml").read_text().splitlines()[0]
    assert "the file is valid" in run(environment, tmp_path, "check", "mine.yaml")


def test_the_demonstration_runs_its_first_trial(environment, tmp_path):
    command = [PROGRAM, "tune", "--config", "demo", *SMALL]
    with (tmp_path / "log").open("w") as log:
        search = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
        try:
            while search.poll() is None and not has_finished(tmp_path / TRIAL):
                time.sleep(1)
            search.send_signal(signal.SIGINT)
            search.wait(120)
        finally:
            search.kill()
    said = (tmp_path / "log").read_text()
    assert search.returncode == 128 + signal.SIGINT, said
    summary = json.loads((tmp_path / "runs/demo/summary.json").read_text())
    first = next(trial for trial in summary["trials"] if trial["trial_id"] == "00000")
    assert first["state"] == "finished" and first["value"] > 0, said
    assert (tmp_path / "runs/demo/report.html").is_file()


def has_finished(trial):
    rows = trial / "metrics.jsonl"
    return rows.is_file() and '"outcome": "finished"' in rows.read_text()
