"""Search files: what they mean, every error with its line, and the spaces that are shipped."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.errors import UserError
from fastgan_ray.search.file.early_terminate import Hyperband, Median, Patience
from fastgan_ray.search.file.method import SAMPLERS, SINGLE
from fastgan_ray.search.file.read import load_search, spec_from_text
from fastgan_ray.search.file.spec import (
    base_config,
    first_trial_point,
    longest_kimg,
    run_config,
    start_point,
    substitutes,
    trial_count,
)
from fastgan_ray.search.repeats import is_repeat
from fastgan_ray.search.space import grid, sample, size

FILES = sorted((Path(__file__).parents[1] / "search_spaces").glob("*.yaml"))
SPACES = [path for path in FILES if not path.stem.startswith("ablation")]

GOOD = """\
# A search.
# Two lines of it.
name: good
method: random
metric: {name: fid, goal: minimize, target: 20}
run_cap: 5
seed: 3
early_terminate: {type: hyperband, min_iter: 40, eta: 2}
base: {data: {path: images}, eval.every_kimg: 40}
parameters:
  train.loss: {values: [hinge, logistic]}
  train.r1_gamma:
    {distribution: log_uniform_values, min: 1e-2, max: 10, when: {train.loss: logistic}}
  model.ngf: {min: 8, max: 64}
  train.lr_g: {min: 1e-5, max: 1e-3}
  train.total_kimg: {value: 100}
"""


def errors_of(text: str) -> list[str]:
    with pytest.raises(UserError) as caught:
        spec_from_text(text, "bad.yaml")
    return str(caught.value).split("\n")


def with_parameters(*lines: str, head: str = "method: random\nmetric: {name: fid}\n") -> str:
    return head + "parameters:\n" + "".join(f"  {line}\n" for line in lines)


def test_a_file_means_what_it_says():
    spec = spec_from_text(GOOD, "good.yaml")
    assert (spec.name, spec.method, spec.run_cap, spec.seed) == ("good", "random", 5, 3)
    assert spec.description == "A search.\nTwo lines of it."
    assert spec.metric.name == "fid5k_full" and spec.metric.target == 20
    assert spec.early_terminate == (Hyperband(min_iter=40.0, eta=2.0),)
    assert spec.early_terminate[0].rungs(200) == [40, 80, 160]
    assert spec.base == {"data.path": "images", "eval.every_kimg": 40}
    assert [p.distribution for p in spec.space] == [
        "categorical",
        "log_uniform_values",
        "int_uniform",
        "uniform",
        "constant",
    ]
    assert base_config(spec).train.total_kimg == 400
    assert start_point(spec) == {
        "train.loss": "hinge",
        "model.ngf": 64,
        "train.lr_g": 2e-4,
        "train.total_kimg": 100,
    }
    assert spec_from_text(spec.text, "good.yaml", spec.overrides) == spec


def test_the_first_trial_takes_the_nearest_values_where_the_space_lacks_the_defaults():
    spec = spec_from_text(
        with_parameters(
            "model.ngf: {values: [4, 8]}",
            "augment.policy: {values: [color, cutout]}",
            "train.beta1: {min: 0.6, max: 0.9}",
            "train.loss: {value: logistic}",
        ),
        "x.yaml",
    )
    expected = {"model.ngf": 8, "train.beta1": 0.6}
    assert expected.items() <= start_point(spec).items()
    assert "augment.policy" not in start_point(spec)
    assert substitutes(spec) == {"model.ngf": (64, 8), "train.beta1": (0.5, 0.6)}
    assert expected.items() <= first_trial_point(spec).items()


def test_an_inactive_parameter_keeps_its_default():
    spec = spec_from_text(GOOD, "good.yaml")
    for seed in range(20):
        point = sample(spec.space, random.Random(seed))
        config = run_config(spec, point)
        assert ("train.r1_gamma" in point) == (config.train.loss == "logistic")
        assert config.train.r1_gamma == point.get("train.r1_gamma", 0)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train.beta1: {min: 0.5, max: 1.2}", "train.beta1: must be less than 1 (got 1.2)"),
        ("lr_g: {values: [1]}", "lr_g: is not a known setting; did you mean train.lr_g?"),
        ("model.nz: 16", "model.nz: must be a mapping such as {value: 16}"),
        ("model.nz: {valeus: [1]}", "valeus is not a key of a parameter; did you mean values?"),
        ("model.nz: {}", "needs value, values, or both min and max"),
        ("model.nz: {min: 3}", "needs max: greatest value"),
        ("model.nz: {value: 3, min: 3}", "must have only value, only values, or only min and max"),
        ("model.nz: {values: [8, 8]}", "values must all be different (got 8 twice)"),
        ("model.nz: {values: []}", "values must not be empty (got [])"),
        ("model.nz: {values: 8}", "values must be a list (got 8)"),
        ("model.nz: {values: [8, x]}", "model.nz: must be a whole number (got 'x')"),
        ("model.nz: {min: 64, max: 8}", "min must be at most max (got min 64, max 8)"),
        ("model.nz: {min: a, max: 8}", "min must be a number (got 'a')"),
        ("model.nz: {min: true, max: 8}", "min must be a number (got true)"),
        ("model.nz: [4, 8]", "model.nz: must be a mapping such as {values: [4, 8]}"),
        (
            "model.ngf: {min: 8.0, max: 64}",
            "use {distribution: int_uniform, min: 8, max: 64}",
        ),
        (
            "model.ngf: {distribution: uniform, min: 8, max: 64}",
            "use {distribution: int_uniform, min: 8, max: 64}",
        ),
        (
            "model.ngf: {distribution: log_uniform_values, min: 8, max: 64}",
            "use {distribution: q_log_uniform_values, min: 8, max: 64, q: 1}",
        ),
        (
            "model.ngf: {distribution: q_uniform, min: 8.0, max: 64.0, q: 8}",
            "use {distribution: q_uniform, min: 8, max: 64, q: 8}",
        ),
        ("model.ngf: {distribution: q_uniform, min: 9, max: 15, q: 8}", "no multiple of q"),
        (
            "model.ngf: {distribution: q_uniform, min: 8, max: 16, q: 0}",
            "q must be greater than 0 (got 0)",
        ),
        ("model.ngf: {min: 0, max: 16}", "model.ngf: must be at least 1 (got 0)"),
        ("model.resolution: {min: 64, max: 256}", "must be a power of two"),
        (
            "train.lr_g: {distribution: log_uniform, min: -9, max: -3}",
            "min and max are exponents; use {distribution: log_uniform_values, min: 0.0001234, "
            "max: 0.04979}",
        ),
        (
            "train.lr_g: {distribution: log_uniform, min: 9}",
            "use log_uniform_values; its min and max are the smallest and the greatest value",
        ),
        (
            "train.lr_g: {distribution: inv_log_uniform, min: 3, max: 9}",
            "use {distribution: log_uniform_values, min: 0.0001234, max: 0.04979}",
        ),
        (
            "train.lr_g: {distribution: inv_log_uniform_values, min: 1e-4, max: 1e-2}",
            "is not supported; use {distribution: log_uniform_values, min: 0.0001, max: 0.01}",
        ),
        (
            "train.beta1: {distribution: normal, mu: 0.5, sigma: 0.1}",
            "because it has no bounds; use {distribution: uniform, min: 0.3, max: 0.7}",
        ),
        (
            "model.nz: {distribution: q_normal, mu: 64, sigma: 16, q: 8}",
            "use {distribution: q_uniform, min: 32, max: 96, q: 8}",
        ),
        (
            "train.lr_g: {distribution: log_normal, mu: -8, sigma: 1}",
            "use {distribution: log_uniform_values, min: 4.54e-05, max: 0.002479}",
        ),
        ("train.beta1: {distribution: q_beta, q: 0.1}", "use {distribution: q_uniform, min: 0"),
        ("train.lr_g: {distribution: normal}", "because it has no bounds"),
        ("train.lr_g: {distribution: unifrom, min: 0.1, max: 0.2}", "did you mean uniform?"),
        ("train.lr_g: {distribution: uniform, values: [0.1]}", "values cannot be used with"),
        ("train.lr_g: {distribution: categorical}", "needs values: list of the possible values"),
        (
            "train.lr_g: {distribution: log_uniform_values, min: 0, max: 1e-3}",
            "min must be greater than 0 for log_uniform_values (got 0)",
        ),
        (
            "train.lr_g: {values: [1e-4], probabilities: [0.5]}",
            "with the sum 1 (got [0.5])",
        ),
        ("eval.num_fakes: {values: [100, 200]}", "must be the same for all trials"),
        ("data.fit: {values: [crop, pad]}", "must be the same for all trials"),
        ("model: {parameters: {nq: {value: 8}}}", "model.nq: is not a known setting"),
        ("train: {parameters: {lr_d: {value: 8}}}", "train.lr_d: is given twice (first in line 4)"),
        ("train.lr_g: {value: 1e-4, when: {train.loss: hinge}}", "is not a parameter of this file"),
        ("train.lr_g: {value: 1e-4, when: {}}", "when must not be empty (got {})"),
        ("model.g_channels: {values: [null, [1, 2]]}", "no valid run has the value [1, 2]"),
        ("model.d_small: {value: false}", "decode_small must be false if d_small is false"),
        ("model.ngf: {min: 1, max: 9999999999999999999}", "max must be at most 1000000000000000"),
    ],
)
def test_wrong_parameters_are_reported_with_their_line(line, message):
    (error,) = errors_of(with_parameters("train.lr_d: {value: 1e-4}", line))
    assert error.startswith("bad.yaml:5: ") and message in error


def test_a_bound_on_a_line_of_its_own_is_named_by_that_line():
    text = with_parameters("train.beta1:", "  min: 0.5", "  max: 1.2")
    assert errors_of(text) == ["bad.yaml:6: train.beta1: must be less than 1 (got 1.2)"]


def test_parents_come_earlier_and_can_take_the_value():
    child = "train.r1_gamma: {min: 0.0, max: 1.0, when: {train.loss: logistic}}"
    assert (
        "must come before"
        in errors_of(with_parameters(child, "train.loss: {values: [hinge, logistic]}"))[0]
    )
    assert (
        "train.loss can never have the value 'logistic'"
        in errors_of(with_parameters("train.loss: {values: [hinge]}", child))[0]
    )
    both = errors_of(with_parameters("train.loss: {values: [hinge, foo]}", child))
    assert len(both) == 2 and "train.loss is a parameter with an error" in both[1]


def test_a_list_can_be_one_value_of_a_parent():
    text = with_parameters(
        "model.d_channels: {values: [null, [8, 8, 8, 8, 8, 8]]}",
        "model.ndf: {values: [8, 16], when: {model.d_channels: null}}",
        "model.d_sle: {values: [true, false], when: {model.d_channels: [8, 8, 8, 8, 8, 8]}}",
    )
    assert size(spec_from_text(text, "x.yaml").space) == 4


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("metric: {name: fid}\n", "needs method: grid, random or bayes"),
        ("method: byes\nmetric: {name: fid}\n", "did you mean bayes?"),
        ("method: random\n", "needs metric: metric that compares trials, e.g. {name: fid}"),
        (
            "method: random\nmetric: {name: fid9k_full}\n",
            "metric.name: must be one of fid5k_full, kid5k_full",
        ),
        (
            "method: random\nmetric: {name: fd_efficientnet_lite0}\n",
            "set eval.extractor: efficientnet_lite0",
        ),
        (
            "method: random\nmetric: {name: fid}\nbase: {eval.extractor: efficientnet_lite0}\n",
            "to measure FID, set eval.extractor: inception",
        ),
        ("method: random\nmetric: {name: fid, goal: maximize}\n", "must be minimize"),
        ("method: random\nmetric: {name: fid, target: x}\n", "must be a number (got 'x')"),
        (
            "method: random\nmetric: {name: fid}\nrun_cap: 0\n",
            "run_cap: must be at least 1 (got 0)",
        ),
        ("method: random\nmetric: {name: fid}\nname: a/b\n", "name: must be 1 to 100 letters"),
        ("method: random\nmetric: {name: fid}\nprogram: x\n", "program: is not supported"),
        ("method: random\nmetric: {name: fid}\nrun_cpa: 1\n", "did you mean run_cap?"),
        ("method: random\nmetric: {name: fid}\nbase: 3\n", "base: must be a mapping"),
        ("method: random\nmetric: {name: fid}\nbase: {train: {lr_q: 1}}\n", "train.lr_g?"),
        (
            "method: random\nmetric: {name: fid}\nearly_terminate: {type: hyperband}\n",
            "early_terminate: needs min_iter",
        ),
        (
            "method: random\nmetric: {name: fid}\n"
            "early_terminate: {type: hyperband, min_iter: 400}\n",
            "must be less than train.total_kimg",
        ),
        (
            "method: random\nmetric: {name: fid}\n"
            "early_terminate: {type: hyperband, max_iter: 27}\n",
            "(or the key s; for example, `s: 2` sets the first comparison to 27 / 3^2 = 3 kimg)",
        ),
        (
            "method: random\nmetric: {name: fid}\nearly_terminate: {type: hyperband, s: 2}\n",
            "s: needs the key max_iter, because the first comparison is at max_iter / 3^2 kimg",
        ),
        (
            "method: random\nmetric: {name: fid}\n"
            "early_terminate: {type: hyperband, min_iter: 4, max_iter: 9, s: 2}\n",
            "s: cannot be combined with min_iter, because each of them sets the kimg of the first "
            "comparison; leave s out (got s 2, min_iter 4)",
        ),
        (
            "method: random\nmetric: {name: fid}\n"
            "early_terminate: {type: hyperband, max_iter: 9000, s: 1}\n",
            "early_terminate.max_iter: must be less than train.total_kimg, because otherwise the "
            "rule never ends a trial (got max_iter / eta^s = 9000 / 3^1 = 3000, total_kimg 400)",
        ),
        (
            "method: random\nmetric: {name: fid}\nbase: {model.ngf: [4, 8]}\n",
            "(got [4, 8]); if this setting is to be searched, put it under parameters",
        ),
        (
            "method: random\nmetric: {name: fid}\nbase: {model: {ngf: {values: [4, 8]}}}\n",
            "if this setting is to be searched, put it under parameters",
        ),
        (
            "method: random\nmetric: {name: fid}\ntrain: {lr_g: 1e-4}\n",
            "train: is a setting of a training; put it under base",
        ),
        (
            "method: random\nmetric: {name: fid}\nlearning_rate: 1e-4\n",
            "put it under base; did you mean train.lr_g or train.lr_d?",
        ),
        (
            "method: random\nmetric: {name: fid}\nearly_terminate: {type: medium, min_iter: 4}\n",
            "early_terminate.type: must be one of 'hyperband', 'median', 'patience', 'chance' (got "
            "'medium'); did you mean median?",
        ),
        (
            "method: random\nmetric: {name: fid}\nearly_terminate: [{type: median}]\n",
            "early_terminate.0: needs min_iter",
        ),
        (
            "method: random\nmetric: {name: fid}\nearly_terminate: {type: patience, kimg: 0}\n",
            "early_terminate.kimg: must be at least 1e-06 (got 0)",
        ),
        (
            "method: random\nmetric: {name: fid}\n"
            "early_terminate: {type: median, min_iter: 4, min_trials: 1.5}\n",
            "early_terminate.min_trials: must be a whole number",
        ),
        (
            "method: random\nmetric: {name: fid}\n"
            "early_terminate: {type: patience, kimg: 4, min_iter: 4}\n",
            "early_terminate.min_iter: is not a known key; the keys are type, kimg, tolerance",
        ),
        (
            "method: random\nmetric: [{name: fid}, {name: params_q}]\n",
            "metric.1.name: must be one of",
        ),
        (
            "method: random\nmetric: [{name: fid}, {name: fid5k_full}]\n",
            "metric.1.name: fid5k_full is already in the list",
        ),
        (
            "method: random\nmetric: [{name: fid}, {name: params_g, target: 3}]\n",
            "metric.1.target: only the first metric",
        ),
        (
            "method: random\nmetric: {name: fid}\n"
            "early_terminate: {type: hyperband, min_iter: 4, revisit: 1}\n",
            "early_terminate.revisit: must be true or false (got 1)",
        ),
        ("method: random\nmetric: {name: params_g}\n", "metric.name: must be one of fid5k_full"),
        (
            "method: random\nmetric: {name: fid}\nsampler: tpe\n",
            "sampler: must be one of the samplers of method random: random, qmc (got 'tpe')",
        ),
        (
            "method: bayes\nmetric: [{name: fid}, {name: params_g}]\nsampler: cmaes\n",
            "sampler: cmaes supports only one metric; for several metrics, choose "
            + ", ".join(name for name in SAMPLERS["bayes"] if name not in SINGLE),
        ),
    ],
)
def test_wrong_options(head, message):
    (error,) = errors_of(with_parameters("model.nz: {value: 64}", head=head))
    assert message in error


def test_hyperband_by_brackets_is_wandbs():
    head = (
        "method: random\nmetric: {name: fid}\n"
        "early_terminate: {type: hyperband, max_iter: 270, s: 2, eta: 3}\n"
    )
    spec = spec_from_text(with_parameters("model.nz: {value: 64}", head=head), "x.yaml")
    assert spec.early_terminate[0].rungs(400) == pytest.approx([30, 90])


def test_stopping_rules_and_metrics_may_be_lists():
    head = (
        "method: bayes\nsampler: nsga2\nmetric: [{name: kid}, {name: params_g}]\n"
        "early_terminate:\n"
        "  - {type: hyperband, min_iter: 10, brackets: 3, tolerance: 1}\n"
        "  - {type: median, min_iter: 40}\n"
        "  - {type: patience, kimg: 80}\n"
    )
    text = with_parameters("model.nz: {value: 64}", head=head)
    spec = spec_from_text(text, "x.yaml")
    rules = (
        Hyperband(min_iter=10, brackets=3, tolerance=1),
        Median(min_iter=40),
        Patience(kimg=80),
    )
    assert spec.early_terminate == rules
    assert (spec.metric.name, spec.sampler) == ("kid5k_full", "nsga2")
    assert [(cost.name, cost.goal) for cost in spec.costs] == [("params_g", "minimize")]
    embedded = spec_from_text(text, "x.yaml", {"eval.extractor": "efficientnet_lite0"})
    assert [metric.name for metric in (embedded.metric, *embedded.costs)] == [
        "kd_efficientnet_lite0",
        "params_g",
    ]


def test_all_errors_of_a_file_at_once():
    text = (
        "method: byes\n"
        "metric: {name: fid, goal: maximize}\n"
        "run_cap: 0\n"
        "base: {train: {lr_g: 3}}\n"
        "parameters:\n"
        "  train.beta1: {min: 0.5, max: 1.2}\n"
        "  model.ngf: {values: [16]}\n"
        "  model.ngf: {values: [32]}\n"
    )
    assert [error.split(": ")[0] for error in errors_of(text)] == [
        f"bad.yaml:{line}" for line in (1, 2, 3, 4, 6, 8)
    ]


def test_a_grid_is_as_long_as_its_points():
    head = "method: grid\nmetric: {name: fid}\n"
    lines = ("model.nz: {values: [64, 128]}", "model.ngf: {min: 8, max: 10}")
    spec = spec_from_text(with_parameters(*lines, head=head), "x.yaml")
    assert spec.run_cap == 6 == len(grid(spec.space))
    capped = spec_from_text(with_parameters(*lines, head=head + "run_cap: 4\n"), "x.yaml")
    assert capped.run_cap == 4
    repeated = spec_from_text(with_parameters(*lines, head=head + "seeds: 3\n"), "x.yaml")
    assert (repeated.run_cap, trial_count(repeated)) == (18, 18)


@pytest.mark.parametrize(
    ("head", "line", "message"),
    [
        ("seeds: 0\n", "model.nz: {value: 64}", "seeds: must be at least 1 (got 0)"),
        ("seeds: 21\n", "model.nz: {value: 64}", "seeds: must be at most 20 (got 21)"),
        ("seeds: [0, 1]\n", "model.nz: {value: 64}", "seeds: must be a whole number"),
        (
            "seeds: 2\n",
            "train.seed: {values: [0, 1]}",
            "seeds: cannot be used if train.seed is in parameters",
        ),
        (
            "seeds: 2\npopulation: {every: 40}\n",
            "train.lr_g: {min: 1e-4, max: 1e-3}",
            "seeds: cannot be used with population",
        ),
        (
            "seeds: 3\nbase: {train: {seed: 2147483646}}\n",
            "model.nz: {value: 64}",
            "seeds: needs 3 seeds below 2**31, beginning with train.seed (got seeds 3, ",
        ),
    ],
)
def test_what_the_key_seeds_refuses(head, line, message):
    head = f"method: random\nmetric: {{name: fid}}\n{head}"
    (error,) = errors_of(with_parameters(line, head=head))
    assert message in error


def test_one_seed_needs_nothing():
    head = "method: random\nmetric: {name: fid}\nseeds: 1\n"
    spec = spec_from_text(with_parameters("train.seed: {values: [0, 1]}", head=head), "x.yaml")
    assert spec.seeds == 1
    assert not any(is_repeat(spec, {"train.seed": seed}) for seed in (0, 1))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train.lr_g: {min: 0.1, max: 0.2}", "uniform is continuous"),
        ("train.seed: {min: 0, max: 2147483647}", "a grid may have at most 10000 combinations"),
        (
            "model.d_small: {values: [true, false]}",
            "decode_small must be false if d_small is false",
        ),
        ("model.nz: {values: [1, 2], probabilities: [0, 1]}", "need method random"),
    ],
)
def test_what_a_grid_refuses(line, message):
    (error,) = errors_of(with_parameters(line, head="method: grid\nmetric: {name: fid}\n"))
    assert message in error


def test_overrides_replace_base_and_searched_parameters():
    spec = spec_from_text(GOOD, "good.yaml", {"train.loss": "hinge", "data.path": "other"})
    for seed in range(10):
        point = sample(spec.space, random.Random(seed))
        config = run_config(spec, point)
        assert config.train.loss == "hinge" and config.data.path == "other"
        assert "train.r1_gamma" not in point


def test_an_override_of_the_protocol_renames_the_metric():
    spec = spec_from_text(GOOD, "x.yaml", {"eval.extractor": "efficientnet_lite0"})
    assert spec.metric.name == "fd_efficientnet_lite0" and spec.metric.target is None
    assert spec_from_text(GOOD, "x.yaml", {"eval.num_fakes": 300}).metric.name == "fid300_full"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"lr_g": 1}, "--set: lr_g: is not a known setting; did you mean train.lr_g?"),
        ({"train.lr_g": 3}, "--set: train.lr_g: must be less than 1 (got 3)"),
        ({"model.d_small": False}, "after the changes of --set: model: decode_small"),
    ],
)
def test_wrong_overrides(overrides, message):
    with pytest.raises(UserError) as caught:
        spec_from_text(GOOD, "x.yaml", overrides)
    assert message in str(caught.value)


def test_values_that_do_not_go_together_are_refused_at_the_point():
    text = with_parameters(
        "model.d_small: {values: [true, false]}", "model.decode_small: {values: [true, false]}"
    )
    spec = spec_from_text(text, "x.yaml")
    with pytest.raises(UserError, match=r"model\.d_small = false, model\.decode_small = true"):
        run_config(spec, {"model.d_small": False, "model.decode_small": True})


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
def test_shipped_spaces_load_and_start_from_the_published_default(path):
    spec = load_search(path)
    assert spec.name == path.stem and "Command:" in spec.description
    published = {name: default for name, (default, _) in substitutes(spec).items()}
    small = {
        "demo": {"model.ngf", "model.ndf", "train.ema_halflife_kimg"},
        "own_pictures_cpu": {"model.ngf", "model.ndf", "train.ema_halflife_kimg"},
    }
    assert published.keys() == small.get(spec.name, set())
    assert run_config(spec, start_point(spec) | published) == base_config(spec)
    for seed in range(50):
        run_config(spec, sample(spec.space, random.Random(seed)))


def test_the_shipped_spaces_exist():
    assert {path.stem for path in SPACES} >= {"demo", "fewshot", "architecture"}


_FIELDS = {
    "train.lr_g": "{distribution: log_uniform_values, min: 1e-5, max: 1e-2}",
    "train.beta1": "{min: 0.0, max: 0.9}",
    "model.ngf": "{distribution: q_log_uniform_values, min: 1, max: 1024, q: 1}",
    "model.ndf": "{distribution: q_uniform, min: 8, max: 100, q: 8}",
    "model.nz": "{min: 1, max: 8192}",
    "model.resolution": "{values: [32, 64, 128, 256, 512, 1024]}",
    "train.loss": "{values: [hinge, logistic, least_squares]}",
    "train.r1_gamma": "{distribution: q_uniform, min: 0, max: 1, q: 0.05}",
    "augment.cutout": "{distribution: uniform, min: 0, max: 1}",
    "model.decode_small": "{values: [true, false]}",
}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(sorted(_FIELDS)), min_size=1, unique=True), st.integers(0, 10**6))
def test_any_sampled_point_lies_in_bounds_and_makes_a_valid_run(names, seed):
    spec = spec_from_text(with_parameters(*(f"{n}: {_FIELDS[n]}" for n in names)), "x.yaml")
    point = sample(spec.space, random.Random(seed))
    assert all(p.contains(point[p.name]) for p in spec.space)
    assert isinstance(run_config(spec, point), RunConfig)


_SCRAPS = st.sampled_from(
    [*GOOD.replace("{", " { ").replace("}", " } ").split(" "), "1e400", "-1", "null", "[]", "&a",
     "*a", "- x\n", "\t", "'", "probabilities:", "q: 0\n", "s: 3", "max_iter: 9", "\n", "  "]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(_SCRAPS, max_size=30), st.integers(0, len(GOOD)), st.integers(0, 40))
def test_any_text_gives_a_search_or_a_users_error(scraps, start, cut):
    """Scraps of a search file put in place of a piece of one."""
    text = GOOD[:start] + " ".join(scraps) + GOOD[start + cut :]
    try:
        spec = spec_from_text(text, "x.yaml")
    except UserError as error:
        assert "x.yaml" in str(error)
    else:
        sample(spec.space, random.Random(0))


def test_trials_without_a_searched_length_may_be_the_longest():
    text = """
name: t
method: random
metric: {name: fd_efficientnet_lite0}
base: {eval: {extractor: efficientnet_lite0}}
parameters:
  train.loss: {values: [hinge, logistic]}
  train.total_kimg: {values: [10, 20], when: {train.loss: logistic}}
"""
    assert longest_kimg(spec_from_text(text, "t.yaml")) == RunConfig().train.total_kimg


LENGTHS = """
name: t
method: random
metric: {name: fd_efficientnet_lite0}
base: {eval: {extractor: efficientnet_lite0}}
parameters:
  train.lr_g: {min: 1e-4, max: 1e-3}
  train.total_kimg: {values: LENGTHS}
"""


@pytest.mark.parametrize(
    "rule", ["early_terminate: {type: median, min_iter: 1000}", "population: {every: 1000}"]
)
def test_rules_are_checked_against_the_searched_lengths(rule):
    """The default length, 400, does not matter."""
    spec_from_text(LENGTHS.replace("LENGTHS", "[2000, 4000]") + rule, "t.yaml")
    (error,) = errors_of(LENGTHS.replace("LENGTHS", "[20, 40]") + rule)
    assert "must be less than train.total_kimg" in error and "total_kimg 40)" in error


def test_a_first_comparison_after_the_last_one_is_refused():
    rule = "early_terminate: {type: hyperband, min_iter: 100, max_iter: 50}"
    (error,) = errors_of(LENGTHS.replace("LENGTHS", "[200]") + rule)
    assert "min_iter: must be less than max_iter" in error and "(got 100, max_iter 50)" in error


def test_an_old_name_may_be_nested():
    nested = "model: {parameters: {d_batch_norm: {values: [batch, spectral]}}}"
    dotted = "model.d_batch_norm: {values: [batch, spectral]}"
    errors = []
    for line in (nested, dotted):
        with pytest.raises(UserError) as caught:
            spec_from_text(with_parameters(line), "t.yaml")
        errors.append(str(caught.value))
    assert errors[0] == errors[1] and "model.d_norm" in errors[0]
