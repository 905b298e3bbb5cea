"""Ablations through Ray: with a stand-in for training, and a tiny real one, killed and resumed."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny
import tune_objectives as objectives

from fastgan_ray.errors import UserError
from fastgan_ray.search.file.read_ablation import ablation_from_text
from fastgan_ray.tune.ablation import run_ablation
from fastgan_ray.tune.experiment import TuneOptions
from fastgan_ray.tune.ray.session import connected

TEXT = """
name: t
metric: {name: fd_efficientnet_lite0}
baseline: middle
seeds: 3
base:
  model: {resolution: 32, ngf: 16, ndf: 4}
  eval: {extractor: efficientnet_lite0, every_kimg: 1}
  train: {total_kimg: 2}
arms:
  middle:
  wide: {model.ngf: 64}
  narrow: {model.ngf: 8}
"""
REAL = """
name: real
metric: {name: fd_efficientnet_lite0}
baseline: with
seeds: 2
base:
  model: {resolution: 32, nz: 8, ngf: 4, ndf: 4, decoder_width: 2}
  train: {batch_size: 4, total_kimg: 0.04, reconstruction: l1}
  eval: {extractor: efficientnet_lite0, num_fakes: 4, every_kimg: 0.02}
arms:
  with:
  without: {model.g_sle_4: false}
"""
PATIENCE = 120.0  # seconds after which something is stuck; passing does not wait


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """A folder in which an ablation has ended, with what it printed."""
    runs = tmp_path_factory.mktemp("runs")
    spec = ablation_from_text(TEXT, "t.yaml", {"data.path": "pictures"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        with connected(None):
            options = TuneOptions(runs_dir=runs, wandb="off", quiet=True, max_concurrent=2)
            yield run_ablation(spec, options, objectives.seeded)


def test_every_cell_runs_once_and_failures_are_results(ended):
    summary = json.loads((ended / "ablation.json").read_text())
    assert [(t["arm"], t["seed"]) for t in summary["trials"]] == [
        (arm, seed) for seed in range(3) for arm in ("middle", "wide", "narrow")
    ]
    for trial in summary["trials"]:
        log = (ended / "trials" / trial["trial_id"] / "ran.txt").read_text().split()
        assert log.count("begin") == 1
        diverged = (trial["arm"], trial["seed"]) == ("narrow", 1)
        assert trial["state"] == ("diverged" if diverged else "finished")
    arms = {arm["name"]: arm for arm in summary["arms"]}
    # The seeds differ by 10, the arms by a constant: pairs show what means would hide.
    wide, narrow = arms["wide"]["comparison"], arms["narrow"]["comparison"]
    assert (wide["verdict"], wide["pairs"]) == ("better", 3)
    assert wide["mean"] == pytest.approx(-3.0, abs=0.1)
    assert wide["low"] < wide["mean"] < wide["high"]
    assert arms["wide"]["by_data"][0]["sd"] > 9
    assert (narrow["verdict"], narrow["pairs"], narrow["failed"]) == ("worse", 2, 1)
    assert arms["middle"]["comparison"] is None
    assert arms["narrow"]["states"] == {"finished": 2, "diverged": 1}
    assert summary["protocol"] == {"pictures": {"test": 1}} and summary["warnings"] == []


def test_tables_and_pictures_are_there(ended):
    text = (ended / "ablation.md").read_text()
    assert "| middle | " in text and "(baseline)" in text
    assert "narrow, seed 1 on pictures: diverged at 1 kimg: loss/d is not finite" in text
    assert (ended / "curves.svg").read_text().startswith("<?xml")
    assert (ended / "curves.png").read_bytes().startswith(b"\x89PNG")
    rows = list(csv.DictReader((ended / "curves.csv").read_text().splitlines()))
    counts = {(row["arm"], float(row["kimg"])): int(row["seeds"]) for row in rows}
    assert counts[("narrow", 1.0)] == 3 and counts[("narrow", 2.0)] == 2
    assert len(list(ended.glob("trials/*/checkpoint-*/metadata.json"))) == 9


def test_resuming_what_has_ended_runs_nothing(ended):
    logs = {path: path.read_text() for path in ended.glob("trials/*/ran.txt")}
    before = (ended / "ablation.json").read_text()
    spec = ablation_from_text(TEXT, "t.yaml", {"data.path": "pictures"})
    options = TuneOptions(runs_dir=ended.parent, wandb="off", quiet=True, resume=True)
    run_ablation(spec, options, objectives.seeded)
    assert {path: path.read_text() for path in ended.glob("trials/*/ran.txt")} == logs
    assert (ended / "ablation.json").read_text() == before


def test_only_the_same_ablation_is_resumed(ended):
    options = TuneOptions(runs_dir=ended.parent, wandb="off", quiet=True, resume=True)
    more = ablation_from_text(TEXT, "t.yaml", {"data.path": "pictures"}, seeds=[0, 1, 4])
    with pytest.raises(UserError, match=r"other settings: seeds: \[0, 1, 2\] then, .*4\] now"):
        run_ablation(more, options, objectives.seeded)
    with pytest.raises(UserError, match="no ablation to resume"):
        other = TuneOptions(runs_dir=ended.parent, name="other", resume=True, quiet=True)
        run_ablation(more, other, objectives.seeded)


def start(runs: Path, pictures: Path, *more: str) -> subprocess.Popen[str]:
    file = runs / "real.yaml"
    file.write_text(REAL)
    command = [sys.executable, "-m", "fastgan_ray.ablate", "--config", str(file), *more]
    command += ["--data", str(pictures), "--runs", str(runs)]
    return subprocess.Popen(
        [*command, "--wandb", "off"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )


def weights(folder: Path) -> dict[str, tuple[int, int]]:
    """When each trial's weights were written, and where on the disk they lie."""
    found = {}
    for path in folder.glob("trials/*/checkpoint-000000040/ema.safetensors"):
        status = path.stat()
        found[path.parts[-3]] = (status.st_mtime_ns, status.st_ino)
    return found


@pytest.mark.slow
def test_a_real_one_killed_and_resumed(tmp_path):
    (tmp_path / "pictures").mkdir()
    pictures = tiny.write_pictures(tmp_path / "pictures", 6)
    folder = tmp_path / "real"
    driver = start(tmp_path, pictures)
    begun = folder / "trials" / "00002" / "metrics.jsonl"
    deadline = time.monotonic() + PATIENCE
    while not (begun.is_file() and {"00000", "00001"} <= weights(folder).keys()):
        assert driver.poll() is None, driver.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    driver.kill()
    driver.communicate()
    before = weights(folder)

    resumed = start(tmp_path, pictures, "--resume")
    try:
        out, _ = resumed.communicate(timeout=PATIENCE)
    finally:
        resumed.kill()
    assert resumed.returncode == 0, out
    summary = json.loads((folder / "ablation.json").read_text())
    assert [trial["state"] for trial in summary["trials"]] == ["finished"] * 4
    assert before.items() <= weights(folder).items(), "a finished cell ran again"
    arms = {arm["name"]: arm for arm in summary["arms"]}
    assert arms["without"]["comparison"]["pairs"] == 2
    assert arms["with"]["params_g"] > arms["without"]["params_g"]
    assert arms["with"]["gflop_per_image"] > 0
    assert any(word in out for word in ("better", "worse", "indistinguishable"))
    assert "Warning" not in out
    assert summary["protocol"]["pictures"]["num_fakes"] == 4
