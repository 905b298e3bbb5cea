"""Knowledge of other data sets: the file of a library, its effects, and what a search learns."""

from __future__ import annotations

import dataclasses
import json
import math
import pickle
import random

import numpy as np
import pytest
from command_line import call

from fastgan_ray.errors import UserError
from fastgan_ray.search.cost import plan
from fastgan_ray.search.cost.plan import search_facts
from fastgan_ray.search.curves.choice import best_candidate, fitted, likely_point, random_pool
from fastgan_ray.search.curves.features import encode
from fastgan_ray.search.curves.trials import Trial
from fastgan_ray.search.file.read import spec_from_text
from fastgan_ray.search.knowledge import responses
from fastgan_ray.search.knowledge.earlier import earlier_library
from fastgan_ray.search.knowledge.gains import describe_gain, expected_gain
from fastgan_ray.search.knowledge.learn import learn
from fastgan_ray.search.knowledge.library import (
    DataSet,
    library_lines,
    package_library,
    read_library,
)
from fastgan_ray.search.knowledge.own import own_libraries
from fastgan_ray.search.knowledge.responses import (
    SPREAD,
    Knowledge,
    describe_knowledge,
    knowledge_of,
    nearest_point,
    usable_libraries,
)
from fastgan_ray.search.space import sample
from fastgan_ray.search.warm_start import EarlierTrial
from fastgan_ray.tune.suggest import model
from fastgan_ray.tune.suggest.searcher import EARLIER_TRIED, StudySearcher

TEXT = """
name: t
method: bayes
sampler: curves
metric: {name: fd_efficientnet_lite0}
base:
  model: {resolution: RESOLUTION}
  train: {total_kimg: KIMG}
  eval: {extractor: efficientnet_lite0}
parameters:
  train.lr_g: {distribution: log_uniform_values, min: 1e-4, max: 1e-2}
  train.beta1: {min: 0.0, max: 0.8}
  train.batch_size: {values: [4, 8, 16]}
  train.loss: {values: [hinge, logistic]}
  train.r1_gamma: {min: 0.0, max: 10, when: {train.loss: logistic}}
"""


def search(resolution=32, kimg=4.0):
    text = TEXT.replace("RESOLUTION", str(resolution)).replace("KIMG", str(kimg))
    return spec_from_text(text, "t.yaml")


SPEC = search()


def level(point, sign):
    """High rates and the hinge loss are good, or bad if `sign` is -1."""
    rate = math.log10(point["train.lr_g"]) + 3
    return 5 + sign * (0.2 * rate - 0.1 * (point["train.loss"] == "logistic"))


def training(point, sign, rng):
    end = level(point, sign) + rng.gauss(0, 0.02)
    return Trial(point, {kimg: math.exp(end + 0.3 / kimg) for kimg in (1.0, 2.0, 4.0)})


def data_set(name, sign, count=24, seed=0, plain=None):
    rng = random.Random(f"{name} {seed}")
    trials = [training(sample(SPEC.space, rng), sign, rng) for _ in range(count)]
    return DataSet(name, "simulated", 100, plain, trials)


@pytest.fixture(scope="module")
def library():
    return learn(SPEC, [data_set("a", 1), data_set("b", -1), data_set("c", 1)])


def points(count, seed=1):
    rng = random.Random(seed)
    return [sample(SPEC.space, rng) for _ in range(count)]


def test_the_effects_are_those_of_each_data_set(library):
    asked = points(200)
    effects = library.effects(asked)
    truth = np.array([level(point, 1) for point in asked])
    truth -= truth.mean()
    assert effects.shape == (200, 3)
    for column, sign in enumerate((1, -1, 1)):
        assert np.corrcoef(effects[:, column], sign * truth)[0, 1] > 0.95
        assert np.abs(effects[:, column] - sign * truth).mean() < 0.04


def test_a_library_is_read_as_it_was_written(library, tmp_path):
    path = tmp_path / "library.jsonl"
    path.write_text("".join(library_lines(library)))
    again = read_library(path)
    assert [data.name for data in again.sets] == ["a", "b", "c"]
    np.testing.assert_allclose(again.effects(points(9)), library.effects(points(9)), atol=2e-3)


def test_a_few_trials_tell_which_data_sets_a_new_one_is_like(library):
    """Four trials of a set like b predict the others better with the library than without."""
    new = data_set("new", -1, count=4).trials
    asked = points(100, seed=2)
    truth = np.array([level(point, -1) for point in asked])
    agreement = []
    for knowledge in (None, Knowledge([library], SPEC)):
        posterior = fitted(SPEC.space, new, 4.0, None, knowledge)
        mean = posterior.means(encode(SPEC.space, asked, knowledge), np.zeros(len(asked)))
        agreement.append(np.corrcoef(mean, truth)[0, 1])
    assert agreement[1] > 0.9 > agreement[0]


@pytest.fixture(scope="module")
def plain_and_not():
    """On plain pictures, high rates and the hinge loss are good; on others they are bad."""
    return learn(
        SPEC,
        [
            data_set("drawings", 1, plain=0.6),
            data_set("icons", 1, plain=0.5),
            data_set("photographs", -1, plain=0.02),
        ],
    )


@pytest.mark.parametrize(("plain", "sign"), [(0.55, 1), (0.05, -1)])
def test_before_the_first_trial_points_are_expected_to_be_as_on_pictures_that_are_as_plain(
    plain_and_not, plain, sign
):
    asked = points(200)
    truth = np.array([level(point, sign) for point in asked])
    effects = Knowledge([plain_and_not], SPEC, plain=plain).likely_effects(asked)
    assert np.corrcoef(effects, truth)[0, 1] > 0.9
    assert 0.3 < np.std(effects) / np.std(truth) < 0.9  # cautious


def test_without_pictures_like_these_nothing_is_expected(plain_and_not):
    for plain in (None, 1.5):
        effects = Knowledge([plain_and_not], SPEC, plain=plain).likely_effects(points(9))
        assert np.abs(effects).max() < 1e-3


def test_own_trials_correct_a_wrong_expectation(plain_and_not):
    """Plain pictures on which, as on photographs, high rates are bad."""
    knowledge = Knowledge([plain_and_not], SPEC, plain=0.55)
    new, asked = data_set("new", -1, count=8).trials, points(100, seed=2)
    posterior = fitted(SPEC.space, new, 4.0, None, knowledge)
    mean = posterior.means(encode(SPEC.space, asked, knowledge), np.zeros(len(asked)))
    mean = mean + knowledge.likely_effects(asked)
    assert np.corrcoef(mean, [level(point, -1) for point in asked])[0, 1] > 0.8


def test_the_knowledge_gradient_counts_the_likely_effects(plain_and_not):
    """The first point that is chosen is one of those that are expected to be good."""
    for plain, sign in ((0.55, 1), (0.05, -1)):
        knowledge = Knowledge([plain_and_not], SPEC, plain=plain)
        trials = [Trial(points(1)[0], {4.0: 150.0})]
        posterior = fitted(SPEC.space, trials, 4.0, None, knowledge)
        pool = random_pool(SPEC.space, 0, 4.0, knowledge)
        chosen = best_candidate(SPEC.space, trials, posterior, pool, random.Random(0), knowledge)
        levels = [level(point, sign) for point in pool.points]
        assert level(chosen.point, sign) < np.quantile(levels, 0.3)


def test_before_any_trial_has_a_value_points_that_are_probably_good_are_tried(plain_and_not):
    knowledge = Knowledge([plain_and_not], SPEC, plain=0.05)
    pool, suggested = random_pool(SPEC.space, 0, 4.0, knowledge), []
    for number in range(3):
        suggested.append(likely_point(pool, suggested, random.Random(number)))
    levels = [level(point, -1) for point in pool.points]
    assert all(level(point, -1) < np.quantile(levels, 0.1) for point in suggested)
    assert len(set(map(str, suggested))) == 3
    assert likely_point(random_pool(SPEC.space, 0, 4.0), suggested, random.Random(0)) is None


def test_a_restarted_search_knows_its_pictures_also_where_they_cannot_be_read(
    tmp_path, monkeypatch, plain_and_not
):
    monkeypatch.setattr(responses, "package_library", lambda: plain_and_not)
    monkeypatch.setattr(model, "plain_share_of", lambda config: 0.05)
    searcher = StudySearcher(SPEC, tmp_path / "study.journal")
    train(searcher, 2)
    searcher.save(str(tmp_path / "state"))
    expected = train(searcher, 2)
    restored = StudySearcher(SPEC, tmp_path / "study.journal")
    restored.restore(str(tmp_path / "state"))
    monkeypatch.setattr(model, "plain_share_of", lambda config: None)
    assert train(restored, 2) == expected


def test_features_have_a_fixed_spread(library):
    rng = random.Random(3)
    features = Knowledge([library], SPEC).features([sample(SPEC.space, rng) for _ in range(500)])
    assert math.sqrt((features**2).sum(axis=1).mean()) == pytest.approx(SPREAD, rel=0.15)


def test_a_point_of_another_space_becomes_the_nearest_one():
    settings = {
        "train.lr_g": 1.0,
        "train.beta1": 0.5,
        "train.batch_size": 12,
        "train.loss": "wasserstein",
        "train.r1_gamma": 5,
    }
    assert nearest_point(SPEC.space, settings) == {
        "train.lr_g": 1e-2,
        "train.beta1": 0.5,
        "train.batch_size": 16,
    }


CHANNELS = """  model.g_channels: {values: [null, [8, 8, 4, 4]]}
  model.ngf: {values: [4, 8], when: {model.g_channels: null}}
"""


def test_null_is_a_value(tmp_path):
    """A parameter with the value null is not an inactive one."""
    spec = spec_from_text(SPEC.text + CHANNELS, "t.yaml")
    rng = random.Random(0)
    trials = [training(sample(spec.space, rng), 1, rng) for _ in range(8)]
    for trial in trials:
        assert nearest_point(spec.space, trial.point) == trial.point
    path = tmp_path / "library.jsonl"
    library = learn(spec, [DataSet("a", "simulated", 9, None, trials)])
    path.write_text("".join(library_lines(library)))
    points = [trial.point for trial in read_library(path).sets[0].trials]
    assert points == [trial.point for trial in trials]
    assert any("model.ngf" in point for point in points)


def test_the_average_of_weights_counts_in_shares_of_the_training():
    """In a training of twice the length, twice the half-life is the same."""
    long = search(kimg=2 * package_library().total_kimg)
    knowledge = Knowledge([package_library()], long)
    short = Knowledge([package_library()], search(kimg=package_library().total_kimg))
    name = "train.ema_halflife_kimg"
    np.testing.assert_allclose(
        knowledge.features([{**points(1)[0], name: 0.2}]),
        short.features([{**points(1)[0], name: 0.1}]),
    )


@pytest.mark.parametrize(("resolution", "known"), [(32, True), (64, True), (256, False)])
def test_pictures_of_another_size_are_not_compared(resolution, known):
    assert (knowledge_of(search(resolution)) is not None) == known
    said = describe_knowledge(search(resolution))
    assert ("other data sets at 32 px" if known else "nothing is recorded at about 256 px") in said


def test_a_search_on_an_embedded_set_does_not_know_this_set():
    names = {data.name for data in package_library().sets}
    spec = spec_from_text(SPEC.text.replace("base:", "base:\n  data: {path: matcaps}"), "t.yaml")
    (library,) = usable_libraries(spec)
    assert {data.name for data in library.sets} == names - {"matcaps"}
    assert f"recorded on {len(names) - 1} other data sets" in describe_knowledge(spec)


def test_a_plan_does_not_open_pictures_that_are_not_here(monkeypatch):
    """A published set that has not been downloaded must not be downloaded by `check`."""
    monkeypatch.setattr(plan, "plain_share_of", lambda config: pytest.fail("opened"))
    text = SPEC.text.replace("base:", "base:\n  data: {path: 100-shot-obama}")
    facts = search_facts(spec_from_text(text, "t.yaml"))
    assert "will be downloaded" in facts["data"][0]["note"]
    assert "as plain as" not in facts["knowledge"]


def test_a_search_may_do_without():
    spec = spec_from_text(SPEC.text + "knowledge: false\n", "t.yaml")
    assert knowledge_of(SPEC) is not None and knowledge_of(spec) is None
    assert "knowledge: false" in describe_knowledge(spec)


def train(searcher, count, sign=1):
    """Train the next `count` points of a search; return them."""
    chosen = []
    for _ in range(count):
        suggestion = searcher.suggest("an id of Ray's")
        chosen.append(suggestion["point"])
        value = math.exp(level(chosen[-1], sign))
        row = {"kimg": 4.0, "fd_efficientnet_lite0": value, "outcome": "finished"}
        searcher.on_trial_complete(f"{suggestion['number']:05d}", row)
    return chosen


def test_a_pickled_sampler_has_no_copy_of_the_library(tmp_path):
    searcher = StudySearcher(SPEC, tmp_path / "study.journal")
    before = len(pickle.dumps(searcher.state.sampler))
    train(searcher, 3)
    assert len(pickle.dumps(searcher.state.sampler)) < before + 2000


@pytest.mark.parametrize("sign", [1, -1])
def test_the_ranks_of_an_earlier_search_guide_the_first_trials(tmp_path, sign):
    """The earlier search says what is good; the new one has no trial that says so."""
    spec = spec_from_text(SPEC.text + "knowledge: false\n", "t.yaml")
    rng = random.Random(0)
    ranked = sorted((sample(spec.space, rng) for _ in range(20)), key=lambda p: level(p, sign))
    earlier_trials = [EarlierTrial(point, rank, f"{rank:05d}") for rank, point in enumerate(ranked)]
    searcher = StudySearcher(spec, tmp_path / "study.journal", earlier_trials=earlier_trials)
    train(searcher, 1 + EARLIER_TRIED, sign)
    searcher.save(str(tmp_path / "state"))
    levels = [sign * (level(point, sign) - 5) for point in train(searcher, 4, sign)]
    assert sign * float(np.mean(levels)) < -0.05

    # A restarted search knows the ranks from its study.
    restored = StudySearcher(spec, tmp_path / "study.journal")
    restored.restore(str(tmp_path / "state"))
    again = [sign * (level(point, sign) - 5) for point in train(restored, 4, sign)]
    assert again == levels


def test_an_earlier_search_of_few_trials_says_nothing():
    earlier_trials = [EarlierTrial(point, rank, str(rank)) for rank, point in enumerate(points(2))]
    assert earlier_library(earlier_trials, SPEC) is None


def test_the_library_of_the_package_names_its_sources():
    for data in package_library().sets:
        assert data.about and data.pictures >= 50 and len(data.trials) >= 6
        assert all(value > 0 for trial in data.trials for value in trial.values.values())
    assert np.isfinite(package_library().ends).all()


def run_of(folder, count=8):
    """The folder of a finished search with simulated trials."""
    rng = random.Random(0)
    folder.mkdir(parents=True)
    (folder / "search.yaml").write_text(SPEC.text)
    (folder / "overrides.json").write_text("{}")
    records = []
    for number in range(count):
        trial = training(sample(SPEC.space, rng), 1, rng)
        of_trial = folder / "trials" / f"{number:05d}"
        of_trial.mkdir(parents=True)
        rows = [{"kimg": kimg, SPEC.metric.name: value} for kimg, value in trial.values.items()]
        (of_trial / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        end = {"kimg": 4.0, "seconds": 1.0, "value": trial.values[4.0], "error": None}
        records.append(
            {"trial_id": of_trial.name, "state": "finished", "point": trial.point, **end}
        )
    summary = {
        "name": folder.name,
        "metric": {"name": SPEC.metric.name, "goal": "minimize"},
        "trials": records,
        "default": None,
        "pictures": [{"path": "moved away", "pictures": 77, "remarks": [], "plain": 0.4}],
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def test_own_searches_are_learnt_and_forgotten(tmp_path, empty_cache, capsys):
    run = run_of(tmp_path / "runs" / "mine")
    assert call("learn", run) == 0
    assert "at about 32 px learn from 8 trials of mine" in capsys.readouterr().out
    (library,) = own_libraries()
    assert library.sets[0].pictures == 77 and library.sets[0].plain == 0.4
    assert len(library.sets[0].trials) == 8
    assert "8 trainings of your search mine at 32 px" in describe_knowledge(SPEC)
    continued = dataclasses.replace(SPEC, name="mine")  # it has these trials already
    assert "mine" not in describe_knowledge(continued)
    columns = len(package_library().sets) + 1
    assert knowledge_of(SPEC).features(points(3)).shape == (3, columns)
    assert call("learn", "--forget", run) == 0
    assert own_libraries() == []


def test_what_cannot_be_learnt_is_said(tmp_path, empty_cache, capsys):
    assert call("learn", tmp_path) == 2
    assert "has no search.yaml" in capsys.readouterr().err
    assert call("learn", run_of(tmp_path / "few", count=3)) == 2
    assert "at least 6 trials with a value" in capsys.readouterr().err
    assert call("learn", "--forget", tmp_path / "few") == 2
    assert "Recorded searches: none." in capsys.readouterr().err


def test_a_search_without_anything_to_learn_is_refused(tmp_path, empty_cache, capsys):
    run = run_of(tmp_path / "mine")
    text = SPEC.text.partition("parameters:")[0] + "parameters: {train.seed: {values: [0, 1]}}\n"
    (run / "search.yaml").write_text(text)
    assert call("learn", run) == 2
    assert "searches only train.seed" in capsys.readouterr().err


def test_runs_from_before_the_plain_share_are_learnt(tmp_path, empty_cache):
    run = run_of(tmp_path / "mine")
    summary = json.loads((run / "summary.json").read_text())
    del summary["pictures"][0]["plain"]
    (run / "summary.json").write_text(json.dumps(summary))
    assert call("learn", run) == 0
    assert own_libraries()[0].sets[0].plain is None


def test_a_search_does_not_learn_from_itself(tmp_path, empty_cache, monkeypatch):
    """After `learn`, a search may continue with more trials."""
    run = run_of(tmp_path / "mine")
    assert call("learn", run) == 0
    monkeypatch.setattr(model, "plain_share_of", lambda config: 0.4)
    names = {name: [data.name for data in sets_of(tmp_path / name)] for name in ("mine", "another")}
    assert "mine" not in names["mine"] and names["another"] == [*names["mine"], "mine"]


def sets_of(folder):
    """The data sets from which a search in a folder learns."""
    folder.mkdir(exist_ok=True)
    study = StudySearcher(SPEC, folder / "study.journal").study
    libraries = model.Model(study, SPEC).knowledge._libraries
    return [data for library in libraries for data in library.sets]


@pytest.mark.parametrize("content", ["{\n", "[]\n", None])
def test_a_damaged_library_is_named_with_its_mend(empty_cache, content):
    path = empty_cache / "knowledge" / "mine.jsonl"
    path.parent.mkdir(parents=True)
    whole = next(iter(library_lines(package_library())))  # a header without trainings
    path.write_text(content or whole)
    with pytest.raises(UserError, match=r"mine.jsonl: cannot be read .* Remove this file"):
        own_libraries()


@pytest.mark.parametrize("sampler", ["bayes\nsampler: curves", "bayes", "random"])
def test_the_plan_says_what_searches_of_this_size_gained(sampler):
    text = SPEC.text.replace("bayes\nsampler: curves", sampler)
    small, large = (spec_from_text(f"{text}run_cap: {count}\n", "t.yaml") for count in (4, 24))
    assert expected_gain(large, 24 * 4).trainings == pytest.approx(24)
    assert 0 <= expected_gain(small, 4 * 4).chance <= expected_gain(large, 24 * 4).chance <= 1
    assert "as much as 24 trainings of average cost" in describe_gain(large, 24 * 4)
    assert "as much as 32 trainings of average cost" in describe_gain(
        large, 1000 * 4
    )  # the most simulated
    limited = spec_from_text(f"{text}run_cap: 24\nbudget: {{kimg: 40}}\nconfirm: false\n", "t.yaml")
    facts = search_facts(limited, needs_data=False)
    assert "as much as 10 trainings of average cost" in facts["expected_gain"]


@pytest.mark.parametrize(
    ("text", "kimg", "why"),
    [
        (search(resolution=256).text, 40.0, "simulated at 32 px only, and this one has 256 px"),
        (SPEC.text.replace("sampler: curves", "sampler: gp"), 40.0, "curves, random, tpe only"),
        (SPEC.text + "knowledge: false\n", 40.0, "and this one does not"),
        (SPEC.text, 4.0, "less than 2 complete trainings"),
    ],
)
def test_where_nothing_was_simulated_the_plan_says_why(text, kimg, why):
    assert expected_gain(spec_from_text(text, "t.yaml"), kimg) is None
    described = describe_gain(spec_from_text(text, "t.yaml"), kimg)
    assert described.startswith("unknown: ") and why in described


def test_a_search_over_seeds_is_learnt_too(tmp_path):
    """train.seed is a parameter of the search, but not of the process."""
    spec = spec_from_text(SPEC.text + "  train.seed: {values: [0, 1, 2]}\n", "t.yaml")
    rng = random.Random(0)
    trials = [training(sample(spec.space, rng), 1, rng) for _ in range(8)]
    path = tmp_path / "library.jsonl"
    path.write_text(
        "".join(library_lines(learn(spec, [DataSet("a", "simulated", 9, None, trials)])))
    )
    assert np.isfinite(Knowledge([read_library(path)], SPEC).features(points(5))).all()


def test_a_library_in_which_nothing_matters_has_no_effect():
    trials = [Trial(point, {4.0: 100.0}) for point in points(8)]
    library = learn(SPEC, [DataSet("a", "simulated", 9, None, trials)])
    assert np.abs(Knowledge([library], SPEC).features(points(5))).max() < 1e-6


def test_a_damaged_library_is_an_error_before_the_first_trial(tmp_path, empty_cache, capsys):
    (empty_cache / "knowledge").mkdir(parents=True)
    (empty_cache / "knowledge" / "mine.jsonl").write_text("{\n")
    (tmp_path / "t.yaml").write_text(SPEC.text)
    arguments = ("--data", "matcaps", "--runs", tmp_path / "runs", "--wandb", "off")
    assert call("tune", "--config", tmp_path / "t.yaml", *arguments) == 2
    assert "mine.jsonl: cannot be read" in capsys.readouterr().err
    assert not (tmp_path / "runs" / "t").exists()
