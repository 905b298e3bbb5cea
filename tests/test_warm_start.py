"""A search that starts from another one: which trials it takes, tries first and is guided by."""

from __future__ import annotations

import json

import pytest
from optuna.trial import TrialState

from fastgan_ray.errors import UserError
from fastgan_ray.search.file.read import spec_from_text
from fastgan_ray.search.warm_start import (
    earlier_trials_file,
    load_earlier_trials,
    read_earlier_trials,
)
from fastgan_ray.tune.suggest.searcher import StudySearcher

METRIC = "fd_efficientnet_lite0"


def spec_of(method="bayes", cap=20):
    return spec_from_text(
        f"""
name: t
method: {method}
metric: {{name: {METRIC}}}
{"" if method == "grid" else f"run_cap: {cap}"}
seed: 2
base: {{eval: {{extractor: efficientnet_lite0}}, train: {{total_kimg: 4}}}}
parameters:
  train.lr_g: {{values: [1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3]}}
  model.ngf: {{values: [8, 16, 32, 64]}}
  train.loss: {{values: [hinge, logistic]}}
  train.r1_gamma: {{values: [0.1, 1.0, 10.0], when: {{train.loss: logistic}}}}
""",
        "t.yaml",
    )


def trial(number, value, state="finished", kimg=8.0, **point):
    settings = {"train.lr_g": 1e-3, "model.ngf": 8, "train.loss": "hinge", **point}
    return {
        "trial_id": f"{number:05d}",
        "value": value,
        "state": state,
        "kimg": kimg,
        "point": settings,
    }


@pytest.fixture
def run(tmp_path):
    trials = [
        trial(0, 300.0, **{"model.ngf": 64}),
        trial(1, 200.0, **{"model.ngf": 16, "train.r1_gamma": 1.0}),
        trial(2, 100.0, "stopped", 2.0, **{"train.lr_g": 3e-3}),
        trial(3, None, "diverged"),
        trial(4, 250.0, **{"train.loss": "logistic", "train.r1_gamma": 10.0, "model.nz": 8}),
    ]
    folder = tmp_path / "other"
    folder.mkdir()
    text = json.dumps({"metric": {"name": "fid", "goal": "minimize"}, "trials": trials})
    (folder / "summary.json").write_text(text)
    return folder


def test_finished_trials_come_first_with_the_part_of_their_points_in_the_space(run):
    earlier_trials = load_earlier_trials(run, spec_of())
    assert [(earlier.trial_id, earlier.rank) for earlier in earlier_trials] == [
        ("00001", 0),
        ("00004", 1),
        ("00000", 2),
        ("00002", 3),
    ]
    assert earlier_trials[0].point == {"train.lr_g": 1e-3, "model.ngf": 16, "train.loss": "hinge"}
    assert (
        earlier_trials[1].point["train.r1_gamma"] == 10.0
        and "model.nz" not in earlier_trials[1].point
    )
    assert earlier_trials[3].point == {"model.ngf": 8, "train.loss": "hinge"}  # 3e-3 is not listed


def test_finished_trials_are_ranked_by_value_whatever_their_last_batch_adds(run):
    """With a batch size of 8, a training of 3.5 kimg ends at 3.504."""
    summary = json.loads((run / "summary.json").read_text())
    summary["trials"][0]["kimg"] += 0.004
    (run / "summary.json").write_text(json.dumps(summary))
    assert [e.trial_id for e in load_earlier_trials(run, spec_of())][:3] == [
        "00001",
        "00004",
        "00000",
    ]


def test_trials_that_differ_only_in_the_seed_count_once_with_their_mean(tmp_path):
    trials = [
        trial(0, 100.0, **{"model.ngf": 64, "train.seed": 0}),
        trial(1, 180.0, **{"model.ngf": 64, "train.seed": 1}),
        trial(2, 130.0, **{"model.ngf": 16, "train.seed": 0}),
        trial(3, 135.0, **{"model.ngf": 16, "train.seed": 1}),
        trial(4, 150.0, **{"model.ngf": 32, "train.seed": 0}),
    ]
    text = json.dumps({"metric": {"name": "fid", "goal": "minimize"}, "trials": trials})
    (tmp_path / "summary.json").write_text(text)
    earlier_trials = load_earlier_trials(tmp_path, spec_of())
    assert [(earlier.trial_id, earlier.rank) for earlier in earlier_trials] == [
        ("00002", 0),
        ("00000", 1),
        ("00004", 2),
    ]
    assert [earlier.point["model.ngf"] for earlier in earlier_trials] == [16, 64, 32]


def test_the_default_is_tried_first_then_the_other_searchs_best(run, tmp_path):
    spec = spec_of()
    known = load_earlier_trials(run, spec)
    searcher = StudySearcher(spec, tmp_path / "study.journal", earlier_trials=known)
    points = [searcher.suggest("x")["point"] for _ in range(4)]
    assert (points[0]["train.lr_g"], points[0]["model.ngf"]) == (2e-4, 64)
    assert points[1] == {"train.lr_g": 1e-3, "model.ngf": 16, "train.loss": "hinge"}
    assert points[2]["train.r1_gamma"] == 10.0
    assert points[3] == {"train.lr_g": 1e-3, "model.ngf": 64, "train.loss": "hinge"}
    earlier_trials = searcher.study.trials[:4]
    assert [earlier.state for earlier in earlier_trials] == [TrialState.PRUNED] * 4
    assert [earlier.intermediate_values for earlier in earlier_trials] == [
        {1: 0.0},
        {1: 1.0},
        {1: 2.0},
        {1: 3.0},
    ]


def test_a_restart_has_the_same_earlier_trials_once(run, tmp_path):
    spec = spec_of()
    journal, state = tmp_path / "study.journal", tmp_path / "state.pkl"
    first = StudySearcher(spec, journal, earlier_trials=load_earlier_trials(run, spec))
    first.suggest("x")
    first.save(str(state))
    expected = [first.suggest("x")["point"] for _ in range(5)]
    second = StudySearcher(spec, journal)
    second.restore(str(state))
    assert [second.suggest("x")["point"] for _ in range(5)] == expected
    assert sum("earlier_trial" in trial.user_attrs for trial in second.study.trials) == 4


def test_folders_and_methods_that_are_refused(run, tmp_path):
    with pytest.raises(UserError, match=r"no summary\.json"):
        load_earlier_trials(tmp_path, spec_of())
    with pytest.raises(UserError, match="cannot be used with method grid"):
        load_earlier_trials(run, spec_of("grid"))
    (run / "summary.json").write_text(
        json.dumps({"metric": {"goal": "minimize"}, "trials": [trial(0, None, "failed")]})
    )
    with pytest.raises(UserError, match=r"none of its trials \(1\) has both"):
        load_earlier_trials(run, spec_of())


def test_the_earlier_trials_are_in_the_folder_of_the_new_search(run, tmp_path):
    """A search that ends before its first snapshot is resumed without --from."""
    earlier_trials = load_earlier_trials(run, spec_of())
    ((name, content),) = earlier_trials_file(earlier_trials).items()
    (tmp_path / name).write_text(content)
    assert read_earlier_trials(tmp_path) == earlier_trials
    assert earlier_trials_file([]) == {} and read_earlier_trials(run) == []
