"""A search's budget: what it counts, starts, stops and reserves."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import tune_objectives as objectives
from fake_trials import fake_trial, start, text_of

from fastgan_ray.errors import UserError
from fastgan_ray.search.file.budget import Budget
from fastgan_ray.search.file.read import spec_from_text
from fastgan_ray.search.file.spec import SearchSpec
from fastgan_ray.tune.driver.budget import (
    FINISHED,
    BudgetedSearcher,
    BudgetStopper,
    BudgetTracker,
    Used,
)
from fastgan_ray.tune.driver.live_table_text import headline
from fastgan_ray.tune.experiment import TuneOptions
from fastgan_ray.tune.ray.session import connected
from fastgan_ray.tune.rounds.folder import reusable_kimg, used_by
from fastgan_ray.tune.search import run_search
from fastgan_ray.tune.trial.folder import stop_reason


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


def make_tracker(folder: Path, reserved: float = 0.0, clock=None, **limits: float) -> BudgetTracker:
    return BudgetTracker(Budget(**limits), reserved, folder, clock or Clock())


def pass_time(tracker: BudgetTracker, clock: Clock, seconds: float, gpus: float = 0.0) -> None:
    tracker.tick(gpus)
    clock.now += seconds
    tracker.tick(gpus)


def report(tracker: BudgetTracker, number: int, kimg: float) -> None:
    trial = fake_trial(number)
    tracker.on_trial_result(1, [trial], trial, {"kimg": kimg})


def test_time_counts_across_restarts(tmp_path):
    clock = Clock()
    tracker = make_tracker(tmp_path, clock=clock, hours=2, gpu_hours=1)
    pass_time(tracker, clock, 3600, gpus=0.25)
    clock.now += 999  # between two runs of the driver
    tracker = make_tracker(tmp_path, clock=clock, hours=2, gpu_hours=1)
    pass_time(tracker, clock, 1800, gpus=0.5)
    assert tracker.describe() == "budget: 1.5 of 2 hours, 0.5 of 1 gpu-hours"
    assert tracker.seconds_left() == pytest.approx(1800)
    (tmp_path / "trials" / "00000").mkdir(parents=True)
    row = {"kimg": 1.0, "outcome": "running"}
    assert not BudgetStopper(tracker.path)("00000", row)
    pass_time(tracker, clock, 1800)
    assert tracker.state["over"] == "the budget is used up: 2 of 2 hours, 0.5 of 1 gpu-hours"
    assert not BudgetStopper(tracker.path)("00000", {**row, "outcome": "finished"})
    assert not BudgetStopper(tracker.path)("00000", {**row, "repeated": True})  # after a restart
    assert BudgetStopper(tracker.path)("00000", row)
    assert stop_reason(tmp_path / "trials" / "00000") == tracker.state["over"]
    assert tracker.used()["gpu_hours"] == {"used": 0.5, "limit": 1, "reserved": 0.0}


def test_gpu_hours_count_each_trials_share_of_a_gpu(tmp_path):
    clock = Clock()
    tracker = make_tracker(tmp_path, clock=clock, gpu_hours=1)
    factory = SimpleNamespace(required_resources={"CPU": 1.0, "GPU": 0.25})
    trials = [
        SimpleNamespace(status=status, placement_group_factory=factory, config={"run": {}})
        for status in ("RUNNING", "RUNNING", "PENDING", "TERMINATED")
    ]
    tracker.on_step_end(0, trials)
    clock.now += 3600
    tracker.on_step_end(1, trials)
    assert tracker.used()["gpu_hours"]["used"] == pytest.approx(0.5)


def test_gpu_hours_need_gpus(tmp_path):
    make_tracker(tmp_path, gpu_hours=1).check_gpus([{"CPU": 1.0, "GPU": 0.5}])
    make_tracker(tmp_path, hours=1).check_gpus([{"CPU": 1.0, "GPU": 0.0}])
    with pytest.raises(
        UserError, match=r"budget.gpu_hours: has no effect, because no trial uses a GPU here.*hours"
    ):
        make_tracker(tmp_path, gpu_hours=1).check_gpus([{"CPU": 1.0, "GPU": 0.0}])


def test_images_count_once(tmp_path):
    tracker = make_tracker(tmp_path, kimg=10)
    for kimg in (1.0, 2.0, 1.0, 2.0):  # a trial that starts again reports its rows again
        report(tracker, 0, kimg)
    report(tracker, 1, 3.0)
    assert tracker.kimg == 5.0 and tracker.kimg_left() == 5.0


def test_time_is_reserved_for_the_confirmation_at_the_speed_of_the_search(tmp_path):
    clock = Clock()
    tracker = make_tracker(tmp_path, reserved=10, clock=clock, hours=10)
    pass_time(tracker, clock, 3600)
    assert tracker.used()["hours"]["reserved"] == 0  # the speed is not known yet
    report(tracker, 0, 4.0)  # 4 kimg an hour: 2.5 hours and a margin
    assert tracker.used()["hours"]["reserved"] == pytest.approx(3.0)
    assert tracker.kimg_left() == pytest.approx(36)
    assert tracker.seconds_left() == pytest.approx(6 * 3600)
    report(tracker, 0, 8.0)
    pass_time(tracker, clock, 4.9 * 3600)
    assert tracker.state["over"]  # 5.9 hours are used and 5, at most half, are reserved
    slow = make_tracker(tmp_path / "none", reserved=1000, clock=clock, hours=10)
    slow.path.parent.mkdir()
    report(slow, 0, 1.0)
    pass_time(slow, clock, 4.9 * 3600)
    assert slow.state["over"] == "" and slow.used()["hours"]["reserved"] == 5
    pass_time(slow, clock, 0.2 * 3600)
    assert slow.state["over"] and slow.kimg_left() == pytest.approx(4.9 / 5.1)


class Endless:
    """A searcher that always has another trial of `length` kimg."""

    metric, mode = "m", "min"

    def __init__(self, length: float) -> None:
        self.length = length
        self.suggested = 0

    def suggest(self, trial_id: str):
        self.suggested += 1
        return {"number": self.suggested - 1, "run": {"train": {"total_kimg": self.length}}}

    def on_trial_complete(self, trial_id: str, result=None, error: bool = False) -> None:
        """Nothing."""


def test_a_trial_starts_only_if_its_whole_length_fits(tmp_path):
    tracker = make_tracker(tmp_path, reserved=8, kimg=20)
    searcher = BudgetedSearcher(Endless(4.0), tracker, 4.0)
    for _ in range(3):
        assert searcher.suggest("x") is not None
    assert searcher.suggest("x") is None  # all 12 are in use, but some may become free
    report(tracker, 0, 1.0)
    assert searcher.suggest("x") is None
    searcher.on_trial_complete("00000")  # stopped early: 3 are free again
    assert searcher.suggest("x") is None
    report(tracker, 1, 3.0)
    searcher.on_trial_complete("00001")
    assert searcher.suggest("x")["number"] == 3
    for name in ("00002", "00003"):
        report(tracker, int(name), 4.0)
        searcher.on_trial_complete(name)
    assert tracker.kimg == 12 and searcher.suggest("x") == FINISHED
    state = searcher.get_state()
    restored = BudgetedSearcher(Endless(4.0), tracker, 4.0)
    restored.set_state(state)
    assert restored.suggest("x") == FINISHED


def test_no_trial_starts_when_the_time_is_used_up(tmp_path):
    clock = Clock()
    tracker = make_tracker(tmp_path, clock=clock, hours=1)
    searcher = BudgetedSearcher(Endless(4.0), tracker, 4.0)
    assert searcher.suggest("x")["number"] == 0
    pass_time(tracker, clock, 3600)
    assert searcher.suggest("x") == FINISHED


def test_the_table_shows_what_is_left():
    state = {**start(), "budget": "budget: 1 of 2 hours", "seconds_left": 90.0}
    assert "about 1:30 left" in headline(state, 130.0)
    assert text_of(state).splitlines()[1].strip() == "budget: 1 of 2 hours"


# --- on Ray ---


def make_spec(name: str, budget: str, extra: str = "") -> SearchSpec:
    return spec_from_text(
        f"""
name: {name}
method: random
metric: {{name: {objectives.METRIC}}}
run_cap: 40
budget: {budget}
{extra}
base: {{eval: {{extractor: efficientnet_lite0, every_kimg: 1}}, train: {{total_kimg: 2}}}}
parameters: {{train.lr_g: {{min: 1e-5, max: 1e-3}}}}
""",
        "t.yaml",
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        with connected(None):
            yield tmp_path_factory.mktemp("runs")


@pytest.mark.slow
def test_a_search_ends_with_its_budget(runs, capfd):
    options = TuneOptions(runs_dir=runs, wandb="off", max_concurrent=1)
    folder = run_search(make_spec("images", "{kimg: 5}"), options, objectives.smooth)
    summary = json.loads((folder / "summary.json").read_text())
    assert [trial["state"] for trial in summary["trials"]] == ["finished"] * 2
    assert summary["budget"]["kimg"] == {"used": 4.0, "limit": 5.0, "reserved": 0.0}
    assert "budget: 4 of 5 kimg" in capfd.readouterr().out

    spec = make_spec("time", "{hours: 1e-6}", "confirm: {top: 1, seeds: 2}")
    folder = run_search(spec, options, objectives.smooth)
    summary = json.loads((folder / "summary.json").read_text())
    (trial,) = summary["trials"]
    assert (trial["state"], trial["kimg"]) == ("stopped", 1.0)
    assert "at 1 of 2 kimg: the budget is used up: " in trial["reason"]
    assert summary["best"]["trial_id"] == "00000"
    assert summary["confirmation"]["sentence"].startswith("Not confirmed: the budget has only")
    assert "Not confirmed" in capfd.readouterr().out

    with pytest.raises(UserError, match="gpu_hours: has no effect, because no trial uses a GPU"):
        run_search(make_spec("gpus", "{gpu_hours: 1}"), options, objectives.smooth)
    assert not (runs / "gpus").exists()


def test_what_an_earlier_confirmation_took_counts(tmp_path):
    """A search with a larger limit continues after its confirmation."""
    tracker = BudgetTracker(Budget(kimg=130), 15.0, tmp_path, Clock(), confirmed=Used(30.0))
    tracker.state["kimg"] = {f"{number:05d}": 5.0 for number in range(14)}
    assert tracker.kimg_left() == 130 - 70 - 30
    assert tracker.fits({}, 5.0) and tracker.fits({"14": 5.0, "15": 5.0}, 5.0)
    assert not tracker.fits({"14": 5.0, "15": 5.0, "16": 5.0}, 5.0)
    assert tracker.used()["kimg"] == {"used": 100.0, "limit": 130, "reserved": 15.0}


def test_the_time_of_an_earlier_confirmation_counts(tmp_path):
    """Ten trials of 1 kimg took an hour, the confirmation half an hour of one GPU."""
    confirmed = Used(4.0, 1800.0, 1800.0)
    limits = Budget(hours=3, gpu_hours=2.5)
    tracker = BudgetTracker(limits, 0.0, tmp_path, Clock(), confirmed)
    tracker.state |= {"seconds": 3600.0, "gpu_seconds": 3600.0, "kimg": {"00000": 10.0}}
    assert {key: amounts["used"] for key, amounts in tracker.used().items()} == {
        "hours": 1.5,
        "gpu_hours": 1.5,
    }
    # The speed is that of the search alone.
    assert tracker.kimg_left() == pytest.approx(10.0)
    assert tracker.seconds_left() == pytest.approx(3600.0)


def test_without_a_limit_time_is_only_counted(tmp_path):
    clock = Clock()
    tracker = BudgetTracker(Budget(), 0.0, tmp_path, clock)
    tracker.tick(1)
    clock.now += 7200
    tracker.tick(1)
    tracker.on_experiment_end([])
    assert tracker.describe() == tracker.state["over"] == "" and tracker.seconds_left() is None
    assert used_by(tmp_path) == Used(0.0, 7200.0, 7200.0)


def test_the_images_that_fill_a_last_batch_do_not_count(tmp_path):
    """Otherwise, a limit of 14 trainings would allow only 13."""
    tracker = BudgetTracker(Budget(kimg=7), 0.0, tmp_path, Clock())
    trial = SimpleNamespace(trial_id="00000", config={"run": {"train": {"total_kimg": 3.5}}})
    tracker.trial_reported(trial, {"kimg": 3.504})
    assert tracker.kimg == 3.5 and tracker.fits({}, 3.5)


def test_a_confirmation_knows_what_it_has_trained(tmp_path):
    assert used_by(tmp_path) == Used() and reusable_kimg(tmp_path) == 0
    trials = [("published default", 5.0), ("trial 00001", 5.0), ("trial 00001", 2.0)]
    entries = [{"arm": arm, "kimg": kimg} for arm, kimg in trials]
    (tmp_path / "ablation.json").write_text(json.dumps({"trials": entries}))
    assert used_by(tmp_path) == Used(12.0) and reusable_kimg(tmp_path) == 5.0
