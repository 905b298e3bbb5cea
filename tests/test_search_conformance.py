"""Every sampler with every stopping rule: conditions, failures, NaN and a restart in the middle."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from optuna.trial import TrialState
from replay import Step, replay

from fastgan_ray.search.file.method import SAMPLERS, SINGLE
from fastgan_ray.search.file.read import spec_from_text
from fastgan_ray.tune.suggest import samplers
from fastgan_ray.tune.suggest.searcher import StudySearcher

METRIC = "fd_efficientnet_lite0"
RULES = {
    "none": "",
    "asha": "early_terminate: {type: hyperband, min_iter: 1, eta: 2}",
    "hyperband": "early_terminate: {type: hyperband, min_iter: 1, eta: 2, brackets: 3}",
    "median": "early_terminate: {type: median, min_iter: 2}",
    "patience": "early_terminate: {type: patience, kimg: 2}",
    "chance": "early_terminate: {type: chance, probability: 0.1}",
    "all": "early_terminate: [{type: hyperband, min_iter: 1, eta: 2, tolerance: 1}, "
    "{type: median, min_iter: 2}, {type: patience, kimg: 3}]",
}
CHOICES = [(method, sampler) for method, known in SAMPLERS.items() for sampler in known]
CAP = 16


def spec_of(method: str, sampler: str, rule: str = "none", costs: str = ""):
    metric = f"[{{name: {METRIC}}}{costs}]"
    return spec_from_text(
        f"""
name: t
method: {method}
{f"sampler: {sampler}" if sampler else ""}
metric: {metric}
run_cap: {CAP}
seed: 3
{RULES[rule]}
base: {{eval: {{extractor: efficientnet_lite0}}, train: {{total_kimg: 6}}}}
parameters:
  train.lr_g: {{distribution: log_uniform_values, min: 1e-5, max: 1e-2}}
  train.beta1: {{min: 0.0, max: 0.9}}
  model.ngf: {{values: [8, 16, 32]}}
  train.loss: {{values: [hinge, logistic]}}
  train.r1_gamma: {{distribution: uniform, min: 0.1, max: 10, when: {{train.loss: logistic}}}}
""",
        "t.yaml",
    )


def curve(point, config):
    """Best at lr_g 1e-3, beta1 0.5 and a large ngf; the fastest rates diverge, ngf 8 fails with
    much R1, and memory ends where both are large."""
    loss = abs(math.log10(point["train.lr_g"]) + 3) + abs(point["train.beta1"] - 0.5)
    loss += 8 / point["model.ngf"] + 0.01 * point.get("train.r1_gamma", 0)
    ends = {
        "diverged": point["train.lr_g"] > 5e-3,
        "failed": point["model.ngf"] == 8 and point.get("train.r1_gamma", 0) > 8,
        "out_of_memory": point["model.ngf"] == 32 and point.get("train.r1_gamma", 0) > 8,
    }
    steps = []
    for kimg in range(1, 7):
        outcome = next((name for name, ends_so in ends.items() if ends_so and kimg == 2), None)
        if outcome:
            return [*steps, Step(kimg, None, outcome=outcome)]
        steps.append(Step(kimg, loss + 2 / kimg, 0.01, seconds=1 + 0.1 * loss))
    return steps


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("method", "sampler"), CHOICES)
def test_every_sampler_with_every_rule(tmp_path, method, sampler, rule):
    spec = spec_of(method, sampler, rule)
    trials = replay(spec, curve, _new_folder(tmp_path / "whole"), workers=3)
    assert len(trials) == CAP
    assert all(trial.state != "running" for trial in trials)
    assert (
        any(trial.state == "stopped" for trial in trials) == (rule != "none") or rule == "patience"
    )
    assert all(trial.reason for trial in trials if trial.state == "stopped")
    assert len({str(trial.point) for trial in trials}) == CAP
    for trial in trials:
        logistic = trial.point["train.loss"] == "logistic"
        assert ("train.r1_gamma" in trial.point) == logistic
    broken = replay(
        spec, curve, _new_folder(tmp_path / "broken"), workers=3, interrupt=lambda n: n in (7, 20)
    )
    points = [(trial.point, trial.state) for trial in trials]
    assert [(trial.point, trial.state) for trial in broken] == points
    study = StudySearcher(spec, tmp_path / "broken" / "study.journal").study
    study_state = {
        "finished": TrialState.COMPLETE,
        "stopped": TrialState.PRUNED,
        "diverged": TrialState.PRUNED,
        "out_of_memory": TrialState.PRUNED,
        "failed": TrialState.FAIL,
    }
    assert [trial.state for trial in study.trials if "trial_id" in trial.user_attrs] == [
        study_state[trial.state] for trial in trials
    ]


@pytest.mark.parametrize("rule", ["none", "all"])
@pytest.mark.parametrize(("method", "sampler"), CHOICES)
def test_every_sampler_with_several_seeds(tmp_path, method, sampler, rule):
    spec = replace(spec_of(method, sampler, rule), seeds=2)

    def with_luck(point, config):
        luck = 0.3 * config.train.seed
        return [
            step if step.value is None else step._replace(value=step.value + luck)
            for step in curve(point, config)
        ]

    trials = replay(spec, with_luck, _new_folder(tmp_path / "whole"), workers=3)
    assert len(trials) == CAP
    by_configuration: dict[str, list[tuple[int, str]]] = {}
    numbers_of: dict[str, list[int]] = {}
    for trial in trials:
        seed = trial.point["train.seed"]
        key = str({**trial.point, "train.seed": None})
        by_configuration.setdefault(key, []).append((seed, trial.state))
        numbers_of.setdefault(key, []).append(trial.number)
    for key, seeds_and_states in by_configuration.items():
        numbers = numbers_of[key]
        first, *repeats = seeds_and_states
        assert first[0] == 0
        if trials[-1].number not in numbers:  # for the last trial, `run_cap` leaves no further seed
            assert repeats == ([(1, "finished")] if first[1] == "finished" else [])
    broken = replay(
        spec,
        with_luck,
        _new_folder(tmp_path / "broken"),
        workers=3,
        interrupt=lambda n: n in (7, 20, 41),
    )
    points = [(trial.point, trial.state) for trial in trials]
    assert [(trial.point, trial.state) for trial in broken] == points


@pytest.mark.parametrize("sampler", [name for name in SAMPLERS["bayes"] if name not in SINGLE])
def test_samplers_of_several_metrics(tmp_path, sampler):
    spec = spec_of("bayes", sampler, "asha", ", {name: params_g}")
    trials = replay(spec, curve, tmp_path, workers=2)
    assert len(trials) == CAP and any(trial.state == "finished" for trial in trials)
    study = StudySearcher(spec, tmp_path / "study.journal").study
    assert len(study.directions) == 2 and study.best_trials


def test_a_file_can_name_exactly_the_samplers_that_exist():
    models = {sampler for method, sampler in CHOICES if method == "bayes"}
    assert models == set(samplers.SAMPLERS)
    assert {sampler for _, sampler in CHOICES} - models == {"random", "qmc"}  # need no model


def test_tpe_keeps_away_from_where_trials_went_wrong(tmp_path):
    """Of 40 trials of a space half of which diverges, the later ones seldom do."""

    def half(point, config):
        if point["train.lr_g"] > 3e-4:
            return [Step(1.0, None, outcome="diverged")]
        return [Step(6.0, abs(math.log10(point["train.lr_g"]) + 4.5))]

    text = spec_of("bayes", "tpe").text.replace(f"run_cap: {CAP}", "run_cap: 40")
    late = []
    for seed in range(6):
        spec = spec_from_text(text.replace("seed: 3", f"seed: {seed}"), "t.yaml")
        trials = replay(spec, half, _new_folder(tmp_path / str(seed)), workers=1)
        late.append([trial.state for trial in trials[20:]].count("diverged"))
    assert sum(late) <= 2 * len(late), late


def _new_folder(folder: Path) -> Path:
    folder.mkdir()
    return folder
