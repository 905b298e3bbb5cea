"""`fastgan-ray clean`: what goes, and what a resume or the results need."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny
import torch

from fastgan_ray.cli.main import main
from fastgan_ray.errors import UserError
from fastgan_ray.train.checkpoint import save
from fastgan_ray.train.rng import CPU
from fastgan_ray.train.state import new_state
from fastgan_ray.tune.storage.cleaning import clean
from fastgan_ray.tune.storage.disk import checkpoint_gb, trials_within
from fastgan_ray.tune.storage.lock import only_driver

FILES = ("ema.safetensors", "generator.safetensors", "metadata.json")


def write_run(folder: Path, kind: str) -> Path:
    """A run of which trial 0 has ended, 1 is to go on, and 2 has died and is to be tried again."""
    status = {"00000": "TERMINATED", "00001": "RUNNING", "00002": "ERROR"}
    state = folder / "state" / "00000007"
    state.mkdir(parents=True)
    for file in (f"{kind}.yaml", ".lock"):
        (folder / file).write_text("")
    ends = {"00000": "finished", "00001": "unfinished", "00002": "failed"}
    entries = [{"trial_id": name, "state": end} for name, end in ends.items()]
    (folder / "summary.json").write_text(json.dumps({"trials": entries}))
    trials = [[json.dumps({"trial_id": name, "status": one}), ""] for name, one in status.items()]
    (state / "experiment_state-1.json").write_text(json.dumps({"trial_data": trials}))
    for name in status:
        for checkpoint in ("checkpoint-000000008", "interrupted"):
            place = folder / "trials" / name / checkpoint
            place.mkdir(parents=True)
            for file in FILES:
                (place / file).write_bytes(bytes(10))
        (folder / "trials" / name / "metrics.jsonl").write_text("{}\n")
    (folder / "trials" / "experiment_state-1.json").write_bytes(bytes(100))
    (folder / "trials" / "00001" / ".checkpoint-000000016.draft").mkdir()
    (folder / ".summary.json.draft").write_text("half")
    best = folder / "best" / "checkpoint"
    best.mkdir(parents=True)
    (best / "ema.safetensors").hardlink_to(
        folder / "trials" / "00000" / "checkpoint-000000008" / "ema.safetensors"
    )
    return folder


def kept(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", ["search", "ablation"])
def test_what_nobody_needs_goes(tmp_path, kind):
    folder = write_run(tmp_path / "run", kind)
    before = kept(folder)
    told = clean(folder, dry_run=True)
    assert kept(folder) == before
    assert clean(folder) == told
    first = "trials/00000/checkpoint-000000008/"
    gone = {f"trials/00000/interrupted/{file}" for file in FILES}
    gone |= {"trials/experiment_state-1.json", ".summary.json.draft"}
    gone |= {first + file for file in FILES if kind == "search" or "generator" in file}
    assert before - kept(folder) == gone
    assert not (folder / "trials" / "00001" / ".checkpoint-000000016.draft").exists()
    # The best one's weights have a second name: nothing is freed by removing the first.
    of_checkpoint = 10 if kind == "ablation" else 20
    assert sum(size for _, size in told) == 3 * 10 + of_checkpoint + 100 + 4
    assert clean(folder) == []


@pytest.mark.parametrize("known", [{"00001": "unfinished"}, {}, None])
def test_what_best_may_need_stays(tmp_path, known):
    """The summary does not know the end yet, or an unfinished trial may be in best/."""
    folder = write_run(tmp_path / "run", "search")
    entries = [{"trial_id": name, "state": end} for name, end in (known or {}).items()]
    if known:
        entries.append({"trial_id": "00000", "state": "stopped"})
    (folder / "summary.json").write_text(json.dumps({"trials": entries}))
    if known is None:
        (folder / "summary.json").unlink()
    clean(folder)
    assert (folder / "trials" / "00000" / "checkpoint-000000008" / FILES[0]).is_file()


def test_a_run_that_runs_is_left_alone(tmp_path):
    folder = write_run(tmp_path / "run", "search")
    with only_driver(folder), pytest.raises(UserError, match="another process"):
        clean(folder)
    with pytest.raises(UserError, match="is not the folder of a search or an ablation"):
        clean(tmp_path)


def test_the_command_lists_bytes(tmp_path, capsys):
    folder = write_run(tmp_path / "run", "search")
    with pytest.raises(SystemExit) as ended:
        main(["clean", str(folder), "--dry-run"])
    assert not ended.value.code
    out = capsys.readouterr().out
    assert "100 " in out and out.endswith("154 bytes to free\n")


def test_a_budget_of_disk_limits_the_trials_at_once(tmp_path):
    small, large = tiny.config(), tiny.config(**{"model.ngf": 16, "model.ndf": 16})
    state = new_state(large, 6, CPU)
    for optimizer in (state.optimizer_g, state.optimizer_d):  # which have moments after a step
        for weight in optimizer.param_groups[0]["params"]:
            weight.grad = torch.zeros_like(weight)
        optimizer.step()
    saved = save(tmp_path / "checkpoint", state, large, {})
    on_disk = sum(path.stat().st_size for path in saved.iterdir()) / 1e9
    whole, weights = checkpoint_gb(large)
    assert whole == pytest.approx(on_disk, rel=0.1)
    assert weights == pytest.approx((saved / "ema.safetensors").stat().st_size / 1e9, rel=0.1)
    # Each of two trials has its best checkpoint too; the best trial keeps its best and its last.
    assert trials_within(whole * (2 + 3 * 6.1), [small, large], 0) == 3
    assert trials_within(20 * weights + whole * 6.1, [small, large], 10) == 1
    only_last = [
        tiny.config(**{"train.keep_best": 0}),
        large.model_copy(update={"train": large.train.model_copy(update={"keep_best": 0})}),
    ]
    assert trials_within(whole * (1 + 3 * 4.1), only_last, 0) == 3
    assert trials_within(10 * weights + whole * 4.1, only_last, 10) == 1
    with pytest.raises(UserError, match=r"--disk-gb: must be at least .* \(got "):
        trials_within(whole * 4, [small, large], 0)
