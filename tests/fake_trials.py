"""Fake trials of a search, with the attributes that Ray's trials have."""

import io
from types import SimpleNamespace

from rich.console import Console

from fastgan_ray.tune.driver.live_table_text import render
from fastgan_ray.tune.driver.state import new_state, observe

METRIC = "fid5k_full"


def fake_trial(number, status="RUNNING", result=None, **point):
    point = {name.replace("__", "."): value for name, value in point.items()}
    return SimpleNamespace(
        trial_id=f"{number:05d}",
        config={"number": number, "point": point, "run": {"train": {"total_kimg": 40.0}}},
        status=status,
        last_result=result or {},
        has_reported_at_least_once=bool(result),
        error_file=None,
    )


def report(kimg, value=None, outcome="running", **more):
    metric = {} if value is None else {METRIC: value, "images_per_second": 45.678}
    return {"kimg": kimg, "seconds": 1.0, "outcome": outcome, "reason": "", **metric, **more}


def start(total_trials=8, goal="minimize"):
    return new_state("fewshot", METRIC, goal, total_trials, 40.0, now=100.0)


def state_of(*trials, now=100.0, **options):
    state = start(**options)
    for trial in trials:
        state = observe(state, trial, now)
    return state


def eight_trials():
    ends = ["TERMINATED"] * 2 + ["ERROR"] + ["TERMINATED"] * 2 + ["RUNNING"] * 2 + ["PENDING"]
    outcomes = ["finished", "running", "running", "diverged", "out_of_memory"] + ["running"] * 3
    kimgs = [40.0, 4.0, 0.0, 8.0, 12.0, 24.008, 12.0, 0.0]
    policies = ["", "color,translation", "color,translation,cutout"]
    state = start()
    for i in range(8):
        point = {
            "model__ngf": [16, 32, 64][i % 3],
            "augment__policy": policies[i % 3],
            "train__lr_g": 2e-4 * 1.37**i,
            "model__nz": 256,
        }
        state = observe(state, fake_trial(i, "RUNNING", **point), 100.0, status="RUNNING")
        value = 300 / (i + 1) if kimgs[i] else None
        result = report(kimgs[i], value, outcomes[i]) if kimgs[i] else {}
        trial = fake_trial(i, ends[i], result, **point)
        trial.status = ends[i]
        state = observe(state, trial, 160.0, status=ends[i])
    return state


def text_of(state, now=200.0, width=80, rows=None):
    console = Console(file=io.StringIO(), width=width)
    console.print(render(state, now, rows))
    return console.file.getvalue()
