"""The sampler `curves`: what it learns, which points are new, and what a restart changes."""

from __future__ import annotations

import pytest

from fastgan_ray.errors import UserError
from fastgan_ray.metrics.names import best_name
from fastgan_ray.search.file.read import spec_from_text
from fastgan_ray.search.file.spec import run_config
from fastgan_ray.tune.suggest import searcher as searcher_module
from fastgan_ray.tune.suggest.searcher import StudySearcher
from fastgan_ray.tune.suggest.study_trials import suggested_points, trials_of

TEXT = """
name: t
method: bayes
sampler: curves
knowledge: KNOWLEDGE
metric: {name: fd_efficientnet_lite0}
base:
  model: {resolution: 32}
  train: {total_kimg: 4}
  eval: {extractor: efficientnet_lite0}
parameters:
  model.ngf: {values: [4, 8, 16]}
  train.batch_size: {values: [4, 8, 16]}
  train.beta1: {values: [0.0, 0.5]}
"""
METRIC = "fd_efficientnet_lite0"


def spec_of(knowledge="false", more=""):
    return spec_from_text(TEXT.replace("KNOWLEDGE", knowledge) + more, "t.yaml")


def train(searcher, count, value=lambda point: 100.0 + point["model.ngf"]):
    """Train the next `count` points to their end; return them."""
    points = []
    for _ in range(count):
        suggestion = searcher.suggest("an id")
        points.append(suggestion["point"])
        row = {"kimg": 4.0, METRIC: value(points[-1]), "outcome": "finished"}
        searcher.on_trial_complete(f"{suggestion['number']:05d}", row)
    return points


def test_failed_and_invalid_points_are_no_candidates(tmp_path, monkeypatch):
    """The sampler finds a new point at once, also in a space of 18 points."""
    invalid = []

    def configure(spec, point):
        if point["model.ngf"] == 4 and point["train.beta1"] == 0.5:
            invalid.append(point)
            raise UserError("not valid")
        return run_config(spec, point)

    spec = spec_of(more="run_cap: 18\n")
    searcher = StudySearcher(spec, tmp_path / "study.journal", configure=configure)
    attempts = []
    monkeypatch.setattr(
        searcher_module, "reject", counting(searcher_module.reject, attempts), raising=True
    )
    train(searcher, 5)
    failed = searcher.suggest("an id")
    searcher.on_trial_complete(f"{failed['number']:05d}", error=True)
    train(searcher, 9)
    assert "tried before" not in attempts
    assert failed["point"] in suggested_points(searcher.study, spec)
    assert all(point in suggested_points(searcher.study, spec) for point in invalid)


def counting(reject, reasons):
    def counted(study, trial, reason):
        reasons.append(reason)
        reject(study, trial, reason)

    return counted


def test_a_trial_counts_with_the_value_of_its_best_checkpoint(tmp_path):
    """It is judged by this value; its last checkpoint may have collapsed."""
    spec = spec_of()
    searcher = StudySearcher(spec, tmp_path / "study.journal")
    suggestion = searcher.suggest("an id")
    name = f"{suggestion['number']:05d}"
    searcher.on_trial_result(name, {"kimg": 2.0, METRIC: 180.0})
    end = {"kimg": 4.0, METRIC: 400.0, best_name(METRIC): 185.0, "outcome": "finished"}
    searcher.on_trial_complete(name, end)
    (trial,) = trials_of(searcher.study, spec)
    assert trial.values == {2.0: 180.0, 4.0: 185.0}


def test_multiples_of_q_are_recognised(tmp_path):
    more = "  model.ndf: {distribution: q_log_uniform_values, min: 8, max: 96, q: 8}\n"
    spec = spec_of(more=more + "seed: 3\n")
    searcher = StudySearcher(spec, tmp_path / "study.journal")
    points = train(searcher, 6)
    known = [trial.point for trial in trials_of(searcher.study, spec)]
    assert repr(known) == repr(points)  # 64, not 64.0


@pytest.mark.parametrize(("before", "after"), [("false", "true"), ("true", "false")])
def test_knowledge_may_change_before_a_search_continues(tmp_path, before, after):
    """Also after the process was fitted with other hyperparameters."""
    searcher = StudySearcher(spec_of(before), tmp_path / "study.journal")
    train(searcher, 6)
    searcher.save(str(tmp_path / "state"))
    continued = StudySearcher(spec_of(after), tmp_path / "study.journal")
    continued.restore(str(tmp_path / "state"))
    train(continued, 2)
    model = continued.state.sampler._model
    assert (model.knowledge is not None) == (after == "true")


def test_pictures_that_can_be_read_again_are_measured(tmp_path, monkeypatch):
    shares = [None, 0.3]
    module = "fastgan_ray.tune.suggest.model.plain_share_of"
    monkeypatch.setattr(module, lambda config: shares.pop(0))
    spec = spec_of("true")
    for expected in (None, 0.3):
        searcher = StudySearcher(spec, tmp_path / "study.journal")
        train(searcher, 2)
        assert searcher.study.user_attrs.get("plain_share") == expected
