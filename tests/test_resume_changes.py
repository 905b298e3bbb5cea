"""What may change between a search and its resume, and what is refused by name."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tune_objectives as objectives
from test_tune_resume import PATIENCE, lines

from fastgan_ray.errors import UserError
from fastgan_ray.search.file.read import spec_from_text
from fastgan_ray.search.file.read_ablation import ablation_from_text
from fastgan_ray.search.resume import ablation_changes, search_changes
from fastgan_ray.tune.experiment import TuneOptions
from fastgan_ray.tune.ray.session import connected
from fastgan_ray.tune.search import run_search
from fastgan_ray.tune.storage.snapshot import ended_in_snapshot

SEARCH = """
name: t
method: bayes
metric: {name: fd_efficientnet_lite0}
run_cap: 3
confirm: {top: 1, seeds: 2}
budget: {hours: 1}
early_terminate: {type: hyperband, min_iter: 4, eta: 2}
base:
  data: {path: pictures}
  eval: {extractor: efficientnet_lite0, every_kimg: 1}
  train: {total_kimg: 8}
  resources: {cpus: 2}
parameters:
  model.ngf: {values: [8, 16, 32, 64]}
  train.lr_g: {distribution: log_uniform_values, min: 1e-5, max: 1e-2}
"""
ABLATION = """
name: t
metric: {name: fd_efficientnet_lite0}
baseline: middle
seeds: 3
data: [cats, dogs]
base: {model: {ngf: 16}, eval: {extractor: efficientnet_lite0}, train: {total_kimg: 2}}
arms:
  middle:
  wide: {model.ngf: 64}
"""


def search(*changes: tuple[str, str], **overrides: object):
    return spec_from_text(changed(SEARCH, changes), "t.yaml", overrides.get("set"))


def ablation(*changes: tuple[str, str], seeds=None):
    return ablation_from_text(changed(ABLATION, changes), "t.yaml", seeds=seeds)


def changed(text: str, changes) -> str:
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text


@pytest.mark.parametrize(
    "changes",
    [
        ("run_cap: 3", "run_cap: 30  # more"),
        ("run_cap: 3", "run_cap: 2"),
        ("run_cap: 3", "run_cap: 6\nseeds: 2"),
        ("run_cap: 3", "run_cap: 3\nknowledge: false"),
        ("hours: 1", "hours: 9, kimg: 900"),
        ("budget: {hours: 1}", ""),
        ("top: 1, seeds: 2", "top: 2, seeds: 5"),
        ("confirm: {top: 1, seeds: 2}", "confirm: false"),
        ("cpus: 2", "cpus: 1, gpus: 0"),
        ("total_kimg: 8", "total_kimg: 8.0, device: cpu, loss: hinge, log_every_kimg: 1"),
        ("\nname: t", "\n# a comment\ndescription: other\nname: t"),
        ("[8, 16, 32, 64]", "[8, 16,\n    32, 64]"),
        ("eta: 2}", "eta: 2.0, brackets: 1}"),
    ],
)
def test_what_a_search_may_change(changes):
    assert search_changes(search(), search(changes), same_pictures=False) == []


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (("method: bayes", "method: bayes\nsampler: gp"), 'sampler: "curves" then, "gp" now'),
        (("total_kimg: 8", "total_kimg: 9"), "train.total_kimg: 8.0 then, 9.0 now"),
        (("every_kimg: 1", "every_kimg: 2"), "eval.every_kimg: 1.0 then, 2.0 now"),
        (("[8, 16, 32, 64]", "[8, 16]"), 'model.ngf: {"distribution": "categorical", "values": '),
        (("max: 1e-2", "max: 1e-3"), '"min": 1e-05, "max": 0.01} then, '),
        (("eta: 2", "eta: 3"), "early_terminate: "),
        (("run_cap: 3", "run_cap: 3\nseed: 1"), "seed: 0 then, 1 now"),
        (("path: pictures", "path: others"), 'data.path: "pictures" then, "others" now'),
        (("{name: fd_e", "{target: 3, name: fd_e"), 'metric: {"name": '),
    ],
)
def test_what_a_search_may_not_change(changes, text):
    (difference,) = search_changes(search(), search(changes), same_pictures=False)
    assert text in difference and " then, " in difference and difference.endswith(" now")


def test_options_count_as_the_file_does(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    here = {"data.path": str(tmp_path / "pictures"), "resources.cpus": 8}
    assert search_changes(search(), search(set=here), same_pictures=False) == []
    other = search(set={"train.lr_d": 1e-3, "data.path": "moved"})
    (difference,) = search_changes(search(), other, same_pictures=True)
    assert difference == "train.lr_d: 0.0002 then, 0.001 now"


def test_a_budget_cannot_begin_in_the_middle():
    (difference,) = search_changes(
        search(("budget: {hours: 1}", "")), search(), same_pictures=False
    )
    assert difference == 'budget: not set then, {"hours": 1.0} now'


def test_an_ablation_may_have_more_seeds_and_nothing_else():
    def changes(now, same_pictures=False):
        return ablation_changes(ablation(), now, same_pictures)

    assert changes(ablation(("seeds: 3", "seeds: 5  # more"))) == []
    assert changes(ablation(("total_kimg: 2}", "total_kimg: 2.0}"))) == []
    assert changes(ablation(("[cats, dogs]", "[cats, birds]")), same_pictures=True) == []
    assert changes(ablation(seeds=[0, 2, 1])) == ["seeds: [0, 1, 2] then, [0, 2, 1] now"]
    assert changes(ablation(seeds=[0])) == ["seeds: [0, 1, 2] then, [0] now"]
    (one,) = changes(ablation(("[cats, dogs]", "[cats]")))
    assert one == 'data: ["cats", "dogs"] then, ["cats"] now'
    (one,) = changes(ablation(("[cats, dogs]", "[cats, birds]")))
    assert one == 'data.path: "dogs" then, "birds" now'
    (one,) = changes(ablation(("model.ngf: 64", "model.ngf: 32")))
    arms = '{"middle": 16, "wide": 64} then, {"middle": 16, "wide": 32} now'
    assert one == f"model.ngf: {arms}"


# --- through Ray ---

DRIVER = """
import sys
from pathlib import Path
import test_resume_changes, tune_objectives
test_resume_changes.drive(Path(sys.argv[1]), tune_objectives.slow_third)
"""


def drive(runs: Path, objective) -> None:
    """What the driver's process does."""
    options = TuneOptions(runs, max_concurrent=1, wandb="off")
    run_search(search(("confirm: {top: 1, seeds: 2}", "confirm: false")), options, objective)


@pytest.mark.slow
def test_a_killed_search_continues_with_other_resources_and_more_trials(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    trials = tmp_path / "t" / "trials"
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(tmp_path)])
    deadline = time.monotonic() + PATIENCE
    while ended_in_snapshot(tmp_path / "t") != {"00000", "00001"} or "waiting" not in lines(
        trials / "00002" / "ran.txt"
    ):
        assert driver.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    before = {name: lines(trials / name / "ran.txt") for name in ("00000", "00001")}

    confirm = ("confirm: {top: 1, seeds: 2}", "confirm: false  # as before")
    spec = search(confirm, ("run_cap: 3", "run_cap: 5"), ("cpus: 2", "cpus: 1"))
    options = TuneOptions(tmp_path, resume=True, max_concurrent=1, wandb="off")
    with pytest.raises(UserError, match=r"started with other settings: seed: 0 then, 7 now"):
        run_search(search(confirm, ("run_cap: 3", "seed: 7")), options, objectives.slow_third)
    with connected(None):
        folder = run_search(spec, options, objectives.slow_third)
        summary = json.loads((folder / "summary.json").read_text())
        assert [trial["trial_id"] for trial in summary["trials"]] == [f"{n:05d}" for n in range(5)]
        assert {trial["state"] for trial in summary["trials"]} <= {"finished", "stopped"}
        for name, log in before.items():
            assert lines(trials / name / "ran.txt") == log, f"trial {name} had ended, and ran again"
        assert lines(trials / "00002" / "ran.txt")[4] == "begin at 2"
        assert (folder / "search.yaml").read_text() == spec.text
        cpus = {
            json.loads(record)["trial_id"]: json.loads(record)["config"]["run"]["resources"]["cpus"]
            for state in (folder / "state").glob("*/experiment_state*")
            for record, _ in json.loads(state.read_text())["trial_data"]
        }
        assert cpus == {"00000": 2, "00001": 2, "00002": 1, "00003": 1, "00004": 1}

        # Resuming what has ended says so.
        capsys.readouterr()
        run_search(spec, options, objectives.slow_third)
        out = capsys.readouterr().out
        assert "t: 5 of 5 trials done, nothing left to do" in out
        assert all(f"\n{n:05d} " in out for n in range(5)), "the table has no rows"
