"""Schedules in a search, an ablation, a resumed training, and the texts that show them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import tiny

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.config.run_file import check_settings
from fastgan_ray.config.schedule import as_text
from fastgan_ray.config.strict_yaml import parse
from fastgan_ray.errors import UserError
from fastgan_ray.report.charts.axis import category
from fastgan_ray.report.text import settings_text, value_text
from fastgan_ray.search.ablation import arm_config
from fastgan_ray.search.cost.plan import search_facts
from fastgan_ray.search.file.population import changeable
from fastgan_ray.search.file.read import spec_from_text
from fastgan_ray.search.file.read_ablation import ablation_from_text, load_ablation
from fastgan_ray.search.file.spec import run_config, start_point
from fastgan_ray.search.space import grid
from fastgan_ray.train.resume import require_same_training
from fastgan_ray.tune.driver.parameters_text import parameters
from fastgan_ray.tune.suggest.parameters import encode
from fastgan_ray.tune.trial.timing import cost_class
from fastgan_ray.tune.trial.training import changed_settings
from fastgan_ray.tune.wandb.trial_run import config_of, title_of

ROOT = Path(__file__).parents[1]
DECAY: dict[str, Any] = {"from": 2e-4, "to": 0, "over_kimg": 400, "shape": "cosine"}
TEXT = "0.0002 to 0 (cosine, 400 kimg)"
SEARCH = """
method: bayes
run_cap: 4
metric: {name: fid5k_full}
base:
  train: {beta2: {from: 0.9, to: 0.99, over_kimg: 400, shape: cosine}}
parameters:
  train.lr_g:
    values: [2e-4, {shape: cosine, to: 0, over_kimg: 400, from: 0.0002}]
  train.lr_d:
    values: [1e-4, 2e-4]
    when: {train.lr_g: {from: 2e-4, to: 0, over_kimg: 400, shape: cosine}}
"""
ABLATION = """
metric: {name: fid5k_full}
baseline: {}
seeds: 2
arms:
  decay: {train.lr_g: {from: 2e-4, to: 0, over_kimg: 400, shape: cosine}}
  shorter: {train: {lr_g: {from: 2e-4, to: 0, over_kimg: 200, shape: cosine}}}
"""


def test_a_search_over_schedules():
    spec = spec_from_text(SEARCH, "search.yaml")
    points = grid(spec.space)
    assert [point.get("train.lr_d") for point in points] == [None, 1e-4, 2e-4]
    trained = [[*run_config(spec, point).train.schedules] for point in points]
    assert [sorted(names) for names in trained] == [["beta2"], *[["beta2", "lr_g"]] * 2]
    assert start_point(spec) == {"train.lr_g": 2e-4}  # the published number
    searched = spec.space[0]
    stored = [encode(searched, value) for value in searched.values]
    assert [json.loads(str(text)) for text in stored] == [2e-4, DECAY]
    point = run_config(spec, points[1]).model_dump()["train"]["lr_g"]
    assert encode(searched, point) == stored[1]  # whatever the order of the keys in the file
    facts = search_facts(spec)
    assert facts["parameters"]["train.lr_g"] == f"0.0002, {TEXT}"
    assert TEXT in facts["parameters"]["train.lr_d"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("{from: 1, to: 0, over_kimg: 4, shape: linear}", "must be less than 1"),
        ("{from: 1e-4, to: 0, over_kimg: 4}", "needs shape"),
    ],
)
def test_a_wrong_schedule_among_the_values_is_an_error(values, message):
    text = SEARCH.replace("values: [2e-4, {", f"values: [{values}, {{")
    with pytest.raises(UserError, match=message) as error:
        spec_from_text(text, "search.yaml")
    assert "train.lr_g" in str(error.value)


def test_population_based_training_changes_no_schedule():
    assert changeable(spec_from_text(SEARCH, "search.yaml").space) == ["train.lr_d"]


def test_arms_with_schedules():
    spec = ablation_from_text(ABLATION, "ablation.yaml")
    assert arm_config(spec, "decay").train.schedules["lr_g"].mapping() == DECAY
    assert settings_text(spec.arms["decay"]) == f"train.lr_g = {TEXT}"
    wrong = ABLATION.replace("to: 0, over_kimg: 200", "to: 2, over_kimg: 200")
    with pytest.raises(UserError, match=r"yaml:7: arm shorter: train.lr_g.to: must be less"):
        ablation_from_text(wrong, "ablation.yaml")
    with pytest.raises(UserError, match="has the same settings as arm decay"):
        ablation_from_text(ABLATION.replace("200", "400"), "ablation.yaml")


def test_texts():
    assert as_text(DECAY) == value_text(DECAY) == category(DECAY) == TEXT
    assert as_text({"train": {"lr_g": DECAY, "seed": 3}}) == {"train": {"lr_g": TEXT, "seed": 3}}
    assert as_text(0.5) == 0.5 and as_text([1, 2]) == [1, 2]
    assert parameters({"train.lr_g": DECAY}, ["train.lr_g"]) == f"lr_g={TEXT}"
    run = tiny.config(**{"train.lr_g": DECAY}).model_dump()
    assert config_of(run, {"arm": "a"})["train"]["lr_g"] == TEXT
    assert title_of("00003", {"train.lr_g": DECAY}, {}) == f"00003 lr_g={TEXT}"


def test_a_resumed_training_compares_schedules(tmp_path):
    before, now = tiny.config(**{"train.lr_g": DECAY}), tiny.config()
    with pytest.raises(
        UserError, match=f"lr_g is '{re.escape(TEXT)}' in the checkpoint and 0.0002"
    ):
        require_same_training(before, now, tmp_path)
    assert changed_settings(before, now) == [f"train.lr_g {TEXT} -> 0.0002"]
    longer = tiny.config(**{"train.lr_g": {**DECAY, "over_kimg": 400.0000001}})
    with pytest.raises(UserError, match=r"train\.lr_g is"):
        require_same_training(before, longer, tmp_path)
    require_same_training(before, tiny.config(**{"train.lr_g": DECAY}), tmp_path)


def test_costs_count_what_a_schedule_switches_on():
    rising = RunConfig.model_validate({"train.gradient_gap_weight": {**DECAY, "to": 500}})
    constant = RunConfig.model_validate({"train.gradient_gap_weight": 500})
    assert cost_class(rising) == cost_class(constant) != cost_class(RunConfig())


def r3gan() -> RunConfig:
    arm = arm_config(load_ablation(ROOT / "search_spaces" / "ablation_schedules.yaml"), "R3GAN")
    return arm.model_copy(update={"data": RunConfig().data, "eval": RunConfig().eval})


def test_the_preset_has_the_numbers_of_r3gans_paper():
    """At 256 px: penalties from 150 to 15 at every step, beta2, the average and p rise."""
    config = r3gan()
    ends = {
        name: (schedule.start, schedule.end)
        for section in (config.train, config.augment)
        for name, schedule in section.schedules.items()
    }
    assert ends == {
        "r1_gamma": (150, 15),
        "r2_gamma": (150, 15),
        "beta2": (0.9, 0.99),
        "ema_halflife_kimg": (0, 500),
        "ada_p": (0, 0.3),
    }
    for section in (config.train, config.augment):
        for schedule in section.schedules.values():
            assert (schedule.shape, schedule.over_kimg) == ("cosine", config.train.total_kimg)
    assert (config.train.loss, config.train.r1_interval) == ("relativistic", 1)


def test_the_examples_of_the_page_are_settings():
    page = (ROOT / "docs" / "training.md").read_text()
    section = page.partition("\n## Schedules\n")[2].partition("\n## ")[0]
    texts = re.findall(r"```yaml\n(.*?)```", section, flags=re.DOTALL)
    warm_up, published = (parse(text, "page").data for text in texts[:2])
    assert check_settings(warm_up) == []
    assert RunConfig.model_validate(published) == r3gan()
    head, _, _ = SEARCH.partition("parameters:")
    assert spec_from_text(head + texts[2], "search.yaml").space[0].values[1] == DECAY
