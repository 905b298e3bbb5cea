"""The account of a search on the disk: when it is written, and what is looked at again for it."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from fastgan_ray.search.file.read import spec_from_text
from fastgan_ray.search.file.spec import run_config, start_point
from fastgan_ray.tune.driver import records as ledger
from fastgan_ray.tune.driver.results import Results
from fastgan_ray.tune.trial.folder import write_stop

TEXT = """
name: t
method: random
metric: {name: fd_efficientnet_lite0}
base: {eval: {extractor: efficientnet_lite0}, train: {total_kimg: 4}}
parameters: {model.ngf: {values: [8, 16, 32, 64]}}
"""


class Ticking:
    """A clock that goes on by a second whenever it is looked at."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        self.now += 1.0
        return self.now


@pytest.fixture
def clock(monkeypatch):
    ticking = Ticking()
    monkeypatch.setattr(ledger, "time", ticking)
    return ticking


@pytest.fixture
def results(tmp_path, monkeypatch, clock):
    made = Results(tmp_path, spec_from_text(TEXT, "t.yaml"))
    monkeypatch.setattr(made.reports, "refresh", lambda over=False: None)
    return made


def trial(results, number, kimg=4.0, outcome="finished", status="TERMINATED"):
    spec = spec_from_text(TEXT, "t.yaml")
    point = {**start_point(spec), "model.ngf": 8}
    folder = results.folder / "trials" / f"{number:05d}"
    checkpoint = folder / "checkpoint-1"
    checkpoint.mkdir(parents=True)
    (checkpoint / "metadata.json").write_text("{}")
    row = {"kimg": kimg, "outcome": outcome, spec.metric.name: 9.0 - number, "checkpoint": "-"}
    return SimpleNamespace(
        trial_id=folder.name,
        config={"number": number, "point": point, "run": run_config(spec, point).model_dump()},
        status=status,
        last_result=row,
    )


def told(results):
    summary = json.loads((results.folder / "summary.json").read_text())
    return [one["trial_id"] for one in summary["trials"]]


def end(results, trials):
    results.on_trial_complete(0, trials, trials[-1])
    results.on_step_end(0, trials)


def test_ends_close_to_each_other_are_written_once_and_none_is_lost(results, clock):
    trials = [trial(results, 0)]
    end(results, trials)
    assert told(results) == ["00000"]
    trials.append(trial(results, 1))
    end(results, trials)
    assert told(results) == ["00000"], "written again at once"
    clock.now += 5 / ledger.SHARE  # a write takes a few of its seconds
    results.on_step_end(1, trials)
    assert told(results) == ["00000", "00001"]
    trials.append(trial(results, 2))
    end(results, trials)
    account = results.write(trials, over=True)
    assert (
        told(results)
        == [one["trial_id"] for one in account["trials"]]
        == [
            "00000",
            "00001",
            "00002",
        ]
    )


def test_nothing_is_written_while_nothing_ends(results, clock):
    results.on_step_end(0, [trial(results, 0, 1.0, "running", "RUNNING")])
    assert not (results.folder / "summary.json").exists()


def test_a_trial_is_looked_at_until_it_is_over(results):
    running = trial(results, 0, 1.0, "running", "RUNNING")
    assert results.write([running])["trials"][0]["state"] == "unfinished"
    running.last_result = running.last_result | {"kimg": 2.0}
    assert results.write([running])["trials"][0]["kimg"] == 2.0
    write_stop(results.folder / "trials" / "00000", 2.0, "it is weak")
    running.status = "TERMINATED"
    results.on_trial_start(0, [running], running)
    interrupted = results.write([running])["trials"][0]
    assert interrupted["state"] == "unfinished", "an interrupt told nobody of an end"
    results.on_trial_complete(0, [running], running)
    stopped = results.write([running])["trials"][0]
    assert stopped["reason"] == "stopped early at 2 of 4 kimg: it is weak"
    (results.folder / "trials" / "00000" / "stop.json").unlink()
    assert results.write([running])["trials"][0] == stopped, "read again from the disk"


def test_checkpoints_outlive_their_trial_until_ray_has_written_its_end(results, clock):
    trials = [trial(results, 0)]
    end(results, trials)
    assert list(results.folder.glob("trials/*/checkpoint-*"))
    snapshot = results.folder / "state" / "00000000"
    snapshot.mkdir(parents=True)
    told = json.dumps({"trial_id": "00000", "status": "TERMINATED"})
    record = json.dumps({"trial_data": [[told, "{}"]]})
    (snapshot / "experiment_state-x.json").write_text(record)
    results.write(trials)
    assert not list(results.folder.glob("trials/*/checkpoint-*"))
