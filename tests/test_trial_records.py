"""A search's summary on the disk: when it is written, and which trials are read again for it."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from fastgan_ray.search.file.read import spec_from_text
from fastgan_ray.search.file.spec import run_config, start_point
from fastgan_ray.tune.driver import records as trial_records
from fastgan_ray.tune.driver.results import SearchRecords
from fastgan_ray.tune.trial.folder import write_stop

TEXT = """
name: t
method: random
metric: {name: fd_efficientnet_lite0}
base: {eval: {extractor: efficientnet_lite0}, train: {total_kimg: 4}}
parameters: {model.ngf: {values: [8, 16, 32, 64]}}
"""


class Ticking:
    """A clock that moves on by a second at each look."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        self.now += 1.0
        return self.now


@pytest.fixture
def clock(monkeypatch):
    ticking = Ticking()
    monkeypatch.setattr(trial_records, "time", ticking)
    return ticking


@pytest.fixture
def records(tmp_path, monkeypatch, clock):
    records = SearchRecords(tmp_path, spec_from_text(TEXT, "t.yaml"))
    monkeypatch.setattr(records.reports, "refresh", lambda over=False: None)
    return records


def make_trial(records, number, kimg=4.0, outcome="finished", status="TERMINATED"):
    spec = spec_from_text(TEXT, "t.yaml")
    point = {**start_point(spec), "model.ngf": 8}
    folder = records.folder / "trials" / f"{number:05d}"
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


def written_ids(records):
    summary = json.loads((records.folder / "summary.json").read_text())
    return [trial["trial_id"] for trial in summary["trials"]]


def end(records, trials):
    records.on_trial_complete(0, trials, trials[-1])
    records.on_step_end(0, trials)


def test_ends_close_to_each_other_are_written_once_and_none_is_lost(records, clock):
    trials = [make_trial(records, 0)]
    end(records, trials)
    assert written_ids(records) == ["00000"]
    trials.append(make_trial(records, 1))
    end(records, trials)
    assert written_ids(records) == ["00000"], "written again at once"
    clock.now += 5 / trial_records.MAX_SHARE  # more than a write allows for
    records.on_step_end(1, trials)
    assert written_ids(records) == ["00000", "00001"]
    trials.append(make_trial(records, 2))
    end(records, trials)
    summary = records.write(trials, over=True)
    assert (
        written_ids(records)
        == [trial["trial_id"] for trial in summary["trials"]]
        == [
            "00000",
            "00001",
            "00002",
        ]
    )


def test_nothing_is_written_while_nothing_ends(records, clock):
    records.on_step_end(0, [make_trial(records, 0, 1.0, "running", "RUNNING")])
    assert not (records.folder / "summary.json").exists()


def test_a_trial_is_read_until_it_has_ended(records):
    running = make_trial(records, 0, 1.0, "running", "RUNNING")
    assert records.write([running])["trials"][0]["state"] == "unfinished"
    running.last_result = running.last_result | {"kimg": 2.0}
    assert records.write([running])["trials"][0]["kimg"] == 2.0
    write_stop(records.folder / "trials" / "00000", 2.0, "it is weak")
    running.status = "TERMINATED"
    records.on_trial_start(0, [running], running)
    interrupted = records.write([running])["trials"][0]
    assert interrupted["state"] == "unfinished", "an interrupt is not an end"
    records.on_trial_complete(0, [running], running)
    stopped = records.write([running])["trials"][0]
    assert stopped["reason"] == "stopped early at 2 of 4 kimg: it is weak"
    (records.folder / "trials" / "00000" / "stop.json").unlink()
    assert records.write([running])["trials"][0] == stopped, "read again from the disk"


def test_a_restored_trial_that_waits_when_ray_is_interrupted_has_not_ended(records):
    """Ray sets it to TERMINATED, although it has not started again."""
    waiting = make_trial(records, 0, 2.0, "running", "TERMINATED")
    assert records.write([waiting], over=True)["trials"][0]["state"] == "unfinished"
    assert list(records.folder.glob("trials/*/checkpoint-*"))


def test_an_ended_trial_keeps_its_checkpoint_while_an_unfinished_one_is_the_best(records):
    stopped = make_trial(records, 0, 2.0, "running")
    running = make_trial(records, 1, 2.0, "running", "RUNNING")  # with a better value
    for trial in (stopped, running):
        trial.last_result["checkpoint"] = "checkpoint-1"
    records.on_trial_complete(0, [stopped], stopped)
    assert records.write([stopped, running], over=True)["best"]["trial_id"] == "00001"
    running.last_result |= {"outcome": "diverged"}
    records.on_trial_complete(0, [running], running)
    assert records.write([stopped, running], over=True)["best"]["trial_id"] == "00000"
    best = records.folder / "best"
    assert json.loads((best / ".source").read_text())[0] == "trials/00000"
    assert (best / "checkpoint" / "metadata.json").is_file()
    # It stays, because after a resume an unfinished trial may be the best again.
    kept = records.folder / "trials" / "00000" / "checkpoint-1"
    assert kept.is_dir()
    finished = make_trial(records, 2)
    records.on_trial_complete(0, [finished], finished)
    records.write([stopped, running, finished], over=True)
    assert not kept.exists()


def test_checkpoints_outlive_their_trial_until_ray_has_written_its_end(records, clock):
    trials = [make_trial(records, 0)]
    end(records, trials)
    assert list(records.folder.glob("trials/*/checkpoint-*"))
    snapshot = records.folder / "state" / "00000000"
    snapshot.mkdir(parents=True)
    ended = json.dumps({"trial_id": "00000", "status": "TERMINATED"})
    state = json.dumps({"trial_data": [[ended, "{}"]]})
    (snapshot / "experiment_state-x.json").write_text(state)
    records.write(trials)
    assert not list(records.folder.glob("trials/*/checkpoint-*"))


def test_a_checkpoint_that_its_trial_replaces_meanwhile_leaves_best_as_it_was(records, monkeypatch):
    """The best so far may be a trial that runs."""
    trials = [make_trial(records, n, 1.0 + n, "running", "RUNNING") for n in range(2)]
    for trial in trials:
        trial.last_result["checkpoint"] = "checkpoint-1"
    records.write(trials[:1])
    best = records.folder / "best"
    assert json.loads((best / ".source").read_text()) == ["trials/00000", 1.0]

    def vanished(source, target):
        raise FileNotFoundError(source)

    with monkeypatch.context() as patch:
        patch.setattr("fastgan_ray.tune.driver.results.link_tree", vanished)
        summary = records.write(trials[1:])
    assert summary["best"]["trial_id"] == "00001" and summary["best"]["state"] == "unfinished"
    assert json.loads((best / ".source").read_text()) == ["trials/00000", 1.0]
