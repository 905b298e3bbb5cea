"""What a search costs on this machine: classes of configurations, and what times amount to."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
import tiny
import torch
from rich.console import Console

from fastgan_ray.cli.plan import print_facts
from fastgan_ray.models import build_generator
from fastgan_ray.search.ablation import arm_config
from fastgan_ray.search.cost.memory import gpu_gb_of
from fastgan_ray.search.cost.plan import ablation_facts, search_facts
from fastgan_ray.search.cost.timing import CpuSpeed, Timing, evaluated_pictures, seconds_of
from fastgan_ray.search.file.read import spec_from_text
from fastgan_ray.search.file.read_ablation import ablation_from_text
from fastgan_ray.tune.trial import calibration
from fastgan_ray.tune.trial.timing import cost_class, time_configs

TIMING = Timing(30.0, 20.0, 2, configurations=65, classes=6, seconds=9.0)


def test_configurations_of_a_class_are_timed_once():
    threads = torch.get_num_threads()
    configs = [tiny.config(**{"train.lr_g": lr}) for lr in (1e-4, 1e-3)]
    assert cost_class(configs[0]) == cost_class(configs[1])
    others = {"model.ngf": 8, "train.batch_size": 8, "train.loss": "relativistic"}
    for name, value in others.items():
        assert cost_class(tiny.config(**{name: value})) != cost_class(configs[0])
    timing = time_configs([*configs, tiny.config(**{"model.ngf": 8})], seconds=0.0)
    assert (timing.configurations, timing.classes) == (2, 1)  # no time is left for another class
    assert timing.at_once >= 1
    assert 0 < timing.seconds_per_kimg < 1000 * timing.seconds / 4
    assert torch.get_num_threads() == threads


def test_a_trainings_time_is_its_images_and_its_evaluations():
    config = tiny.config(
        **{
            "train.total_kimg": 10.0,
            "eval.every_kimg": 4.0,
            "eval.num_fakes": 1000,
            "eval.early_fakes": 500,
        }
    )
    # 10 kimg at 30 s; two cheap evaluations and the last: 2000 pictures at 20 s. Then a cheap one
    # of the last checkpoint, and the best one again: 1500 pictures. Two at once.
    assert seconds_of(TIMING, 10.0, config) == pytest.approx((300 + 40 + 30) / 2)
    alone = seconds_of(replace(TIMING, at_once=1), 20.0, config)
    assert alone == pytest.approx(2 * 370)


@pytest.mark.parametrize(
    ("changes", "pictures"),
    [
        ({"train.keep_best": 0}, 2000),
        ({"train.keep_best": 3}, 3500),
        ({"eval.early_fakes": None}, 4000),
        ({"eval.early_fakes": None, "train.keep_best": 0}, 3000),
        ({"eval.every_kimg": 10.0}, 1500),  # the only evaluation: the last is the best
        ({"eval.every_kimg": 10.0, "eval.early_fakes": None}, 2000),
    ],
)
def test_the_second_measurement_of_the_best_checkpoint_counts(changes, pictures):
    settings = {"train.total_kimg": 10.0, "eval.every_kimg": 4.0, "eval.num_fakes": 1000}
    config = tiny.config(**{**settings, "eval.early_fakes": 500, **changes})
    assert evaluated_pictures(config) == pictures


SEARCH = """
method: random
metric: {name: fid}
run_cap: 20
budget: {kimg: 30, hours: 3}
base:
  model: {resolution: 32, ngf: 4, ndf: 4}
  train: {total_kimg: 2, reconstruction: l1}
  eval: {every_kimg: 2, num_fakes: 1000}
parameters: {train.lr_g: {min: 1e-5, max: 1e-3}}
"""


def test_the_plan_says_how_long_it_takes_here():
    spec = spec_from_text(SEARCH, "x.yaml")
    output = io.StringIO()
    print_facts(search_facts(spec, timing=TIMING), Console(file=output, width=400))
    text = output.getvalue()
    assert (
        "confirmation: trains the best trial and the published default again with at most 2 seeds"
        in text
    )
    assert (
        "about 22 thousand images in all trials together (at most 40) and at most 8 thousand in "
        "the confirmation" in text
    )
    assert (
        "about 12.5 minutes on this machine with 2 trainings at a time (30 s per thousand" in text
    )
    assert "budget: 30 kimg, 3 hours; reserved for the confirmation: 8 thousand images" in text
    assert "2080" not in text


def test_without_a_gpu_the_plan_says_minutes_of_this_cpu():
    spec, speed = spec_from_text(SEARCH, "x.yaml"), CpuSpeed([(0.1, 10.0), (10.0, 30.0)], 2)
    facts = search_facts(spec, cpu=speed)
    seconds = 1000 * (22 + 8) * facts["gflop_per_image"] / speed.gflops(facts["gflop_per_image"])
    assert facts["cpu"] == {"minutes": pytest.approx(seconds / 2 / 60), "at_once": 2}
    output = io.StringIO()
    print_facts(facts, Console(file=output, width=400))
    text = f"about {seconds / 120:.1f} minutes on this machine's CPU with 2 trainings at a time"
    assert text in output.getvalue() and "2080" not in output.getvalue()


TABLE_1 = """
metric: {name: fid}
baseline: narrow
seeds: 2
base:
  train: {reconstruction: l1, batch_size: 4}
  eval: {num_fakes: 1000}
arms:
  narrow: {model: {resolution: 64, ngf: 4, ndf: 4}}
  wide: {model: {resolution: 64, ngf: 8, ndf: 4}}
"""


def test_the_plan_has_the_columns_of_table_1_for_each_arm():
    spec = ablation_from_text(TABLE_1, "x.yaml")
    narrow, wide = ablation_facts(spec)["arms"]
    for name, arm in (("narrow", narrow), ("wide", wide)):
        config = arm_config(spec, name)
        generator = build_generator(config.model)
        assert arm["params_g"] == sum(weight.numel() for weight in generator.parameters())
        assert arm["gpu_gb"] == gpu_gb_of(config)
        seconds = 10_000 * 4 * arm["gflop_per_image"] / 4460
        assert arm["hours_per_10k_steps"] == pytest.approx(seconds / 3600)
    assert wide["params_g"] > narrow["params_g"] and wide["params_d"] == narrow["params_d"]
    speed = CpuSpeed([(0.1, 10.0), (10.0, 30.0)], at_once=2)
    facts = ablation_facts(spec, cpu=speed)
    gflop = narrow["gflop_per_image"]
    hours = 10_000 * 4 * gflop / speed.gflops(gflop) / 3600
    assert facts["arms"][0]["hours_per_10k_steps"] == pytest.approx(hours)
    output = io.StringIO()
    print_facts(facts, Console(file=output, width=400))
    heading = {"h/10k", "steps,", "this CPU"}  # in three lines
    cells = {cell.strip() for line in output.getvalue().splitlines() for cell in line.split("┃")}
    assert heading <= cells and "2080" not in output.getvalue()
    measured = search_facts(spec_from_text(SEARCH, "x.yaml"), timing=TIMING)
    assert measured["hours_per_10k_steps"] == pytest.approx(10 * 8 * 30 / 3600)


def test_the_speed_of_a_network_lies_between_those_measured():
    speed = CpuSpeed([(0.1, 10.0), (10.0, 30.0)], at_once=1)
    assert [speed.gflops(size) for size in (0.01, 0.1, 1.0, 10.0, 99.0)] == [
        pytest.approx(gflops) for gflops in (10, 10, 20, 30, 30)
    ]
    assert speed.minutes(60, 1.0) == pytest.approx(50)


def test_the_cpu_is_measured_once_for_each_number_of_threads(empty_cache, monkeypatch):
    networks = []

    def time_step(config, clock):
        networks.append((config.model.resolution, torch.get_num_threads()))
        return 0.5

    monkeypatch.setattr(calibration, "time_step", time_step)
    one, two = (tiny.config(**{"train.device": "cpu", "resources.cpus": count}) for count in (1, 2))
    first = calibration.speed_of_this_cpu(one)
    assert networks == [(64, 1), (128, 1)]
    assert all(rate == pytest.approx(size * 4 / 0.5) for size, rate in first.speeds)
    again = calibration.speed_of_this_cpu(one)
    assert list(map(tuple, again.speeds)) == first.speeds and len(networks) == 2
    calibration.speed_of_this_cpu(two)
    assert networks[2:] == [(64, 2), (128, 2)]
    next((empty_cache / "cpu_speed").glob("*.json")).write_text("no number")
    calibration.speed_of_this_cpu(one)
    calibration.speed_of_this_cpu(two)
    assert len(networks) == 6, "a damaged file counts as none"


def test_a_training_on_a_gpu_is_not_estimated_by_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert calibration.speed_of_this_cpu(tiny.config()) is None
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert calibration.speed_of_this_cpu(tiny.config(**{"train.device": "cuda"})) is None
