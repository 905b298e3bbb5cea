"""`budget: {until: settled}`: a search ends when a further trial would bring too little."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

import pytest

from fastgan_ray.errors import UserError
from fastgan_ray.search.file.read import spec_from_text
from fastgan_ray.search.file.spec import SearchSpec
from fastgan_ray.tune.ray.compat import FINISHED
from fastgan_ray.tune.suggest.searcher import StudySearcher
from fastgan_ray.tune.suggest.settled import MIN_FINISHED, settled_sentence

METRIC = "fd_efficientnet_lite0"
RUN_CAP = 60


def make_spec(budget: str = "{until: settled}", more: str = "", metric: str = "") -> SearchSpec:
    return spec_from_text(
        f"""
name: t
method: bayes
sampler: tpe
metric: {metric or f"{{name: {METRIC}}}"}
run_cap: {RUN_CAP}
budget: {budget}
{more}
base: {{eval: {{extractor: efficientnet_lite0}}, train: {{total_kimg: 4}}}}
parameters:
  train.lr_g: {{distribution: log_uniform_values, min: 1e-5, max: 1e-2}}
  train.loss: {{values: [hinge, logistic]}}
""",
        "t.yaml",
    )


def trained(searcher: StudySearcher) -> Iterator[int]:
    """Train one trial at a time to the end of the search; yield their numbers."""
    while (suggestion := searcher.suggest("an id of Ray's")) != FINISHED:
        point, number = suggestion["point"], suggestion["number"]
        level = 5 + 0.3 * (math.log10(point["train.lr_g"]) + 3) ** 2
        level += 0.2 * (point["train.loss"] == "logistic")
        row = {"kimg": 4.0, METRIC: math.exp(level), "outcome": "finished"}
        searcher.on_trial_complete(f"{number:05d}", row)
        yield number


def test_a_search_ends_when_it_is_settled_also_after_a_restart(tmp_path):
    spec = make_spec()
    folders = [tmp_path / name for name in ("once", "twice")]
    for folder in folders:
        folder.mkdir()
    once, twice = (StudySearcher(spec, folder / "study.journal") for folder in folders)
    count = len(list(trained(once)))
    assert MIN_FINISHED <= count < RUN_CAP

    for number in trained(twice):
        if number == 4:
            break
    twice.save(str(tmp_path / "state"))
    restored = StudySearcher(spec, folders[1] / "study.journal")
    restored.restore(str(tmp_path / "state"))
    assert list(trained(restored)) == list(range(5, count))

    text = (folders[0] / "settled.json").read_text()
    assert json.loads(text)["gain"] < 0.5 and (folders[1] / "settled.json").read_text() == text
    sentence = settled_sentence(folders[0], spec)
    assert sentence.startswith(f"The search is settled after {count} finished of at most 60 trials")

    # With a lower limit, the same search goes on, and is no longer called settled.
    once.save(str(tmp_path / "state"))
    lower = make_spec("{until: settled, least_gain: 1e-9}")
    further = StudySearcher(lower, folders[0] / "study.journal")
    further.restore(str(tmp_path / "state"))
    assert further.suggest("an id of Ray's") != FINISHED
    assert settled_sentence(folders[0], lower) == ""
    assert settled_sentence(folders[1], make_spec("{hours: 9}")) == ""  # resumed without `until`


def test_a_running_trial_is_waited_for(tmp_path):
    searcher = StudySearcher(make_spec("{until: settled, least_gain: 100}"), tmp_path / "journal")
    numbers = trained(searcher)
    for _ in range(MIN_FINISHED - 1):
        next(numbers)
    running, last = (searcher.suggest("an id of Ray's") for _ in range(2))
    row = {"kimg": 4.0, METRIC: 150.0, "outcome": "finished"}
    searcher.on_trial_complete(f"{last['number']:05d}", row)
    assert searcher.suggest("an id of Ray's") is None
    searcher.on_trial_complete(f"{running['number']:05d}", row)
    assert searcher.suggest("an id of Ray's") == FINISHED


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"budget": "{until: tired}"}, "budget.until: must be 'settled' (got 'tired')"),
        ({"budget": "{least_gain: 1}"}, "budget: needs at least one of kimg, hours"),
        (
            {"budget": "{hours: 1, least_gain: 1}"},
            "budget.least_gain: needs `until: settled`, or must be left out",
        ),
        (
            {"metric": f"[{{name: {METRIC}}}, {{name: params_g}}]", "more": "seed: 1"},
            "budget.until: `settled` needs one value to improve, but the search has several",
        ),
        (
            {"more": "population: {every: 1}"},
            "budget.until: `settled` needs one value to improve, but `population` changes",
        ),
    ],
)
def test_what_cannot_be_settled(changes, message):
    with pytest.raises(UserError) as error:
        make_spec(**changes)
    assert message in str(error.value)
