"""Search spaces: domains, conditions, grids, and their agreement with one another."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgan_ray.search.space import (
    Parameter,
    assign,
    default_point,
    grid,
    sample,
    size,
    sobol,
)


def listed(name, *values, when=()):
    return Parameter(name, "categorical", values, when=when)


LOSS = listed("train.loss", "hinge", "logistic")
NOISE = listed("train.label_noise", 0.0, 0.2, when=(("train.loss", ("hinge",)),))
R1 = listed("train.r1_gamma", 0.1, 1.0, 10.0, when=(("train.loss", ("logistic",)),))
LAZY = Parameter(
    "train.r1_interval", "int_uniform", low=1, high=4, q=1, when=(("train.r1_gamma", (1.0, 10.0)),)
)
SPACE = (LOSS, NOISE, R1, LAZY)


@pytest.mark.parametrize(
    ("parameter", "values"),
    [
        (listed("x", 1, "a", None, [1, 2]), [1, "a", None, [1, 2]]),
        (Parameter("x", "constant", (3,)), [3]),
        (Parameter("x", "int_uniform", low=2, high=5, q=1), [2, 3, 4, 5]),
        (Parameter("x", "q_uniform", low=10, high=64, q=16), [16, 32, 48, 64]),
        (Parameter("x", "q_uniform", low=0.1, high=0.35, q=0.1), [0.1, 0.2, 0.3]),
        (Parameter("x", "q_log_uniform_values", low=8, high=30, q=8), [8, 16, 24]),
    ],
)
def test_values_of_a_finite_domain(parameter, values):
    assert parameter.size == len(values)
    listed_values = [parameter.at(i) for i in range(parameter.size)]
    assert listed_values == values
    assert [type(v) for v in listed_values] == [type(v) for v in values]
    assert all(parameter.contains(value) for value in values)
    rng = random.Random(0)
    drawn = [parameter.sample(rng) for _ in range(300)]
    assert all(value in values for value in drawn) and all(value in drawn for value in values)


def test_a_boolean_is_no_number():
    assert not listed("x", 1, 2).contains(True)
    assert not listed("x", True, False).contains(1)
    assert not Parameter("x", "int_uniform", low=0, high=1, q=1).contains(True)


def test_log_uniform_draws_orders_of_magnitude_evenly():
    parameter = Parameter("x", "log_uniform_values", low=1e-5, high=1e-1)
    rng = random.Random(0)
    drawn = [parameter.sample(rng) for _ in range(2000)]
    assert all(1e-5 <= value <= 1e-1 for value in drawn)
    assert 0.46 < sum(value < 1e-3 for value in drawn) / 2000 < 0.54


def test_probabilities_weigh_values():
    parameter = Parameter("x", "categorical", (1, 2, 3), (0.0, 0.25, 0.75))
    drawn = [parameter.sample(random.Random(i)) for i in range(1000)]
    assert 1 not in drawn and 0.7 < drawn.count(3) / 1000 < 0.8


def test_sobol_points_keep_to_shares_and_conditions():
    policy = Parameter("augment.policy", "categorical", ("", "color"), (0.75, 0.25))
    rate = Parameter("train.lr_d", "uniform", low=0, high=1, when=(("augment.policy", ("color",)),))
    space = (policy, rate)
    points = [sobol(space, index, 3) for index in range(1, 65)]
    colored = [point for point in points if point["augment.policy"] == "color"]
    assert len(colored) == pytest.approx(16, abs=1)
    assert all(("train.lr_d" in point) == (point in colored) for point in points)
    assert points[:5] == [sobol(space, index, 3) for index in range(1, 6)]
    assert points != [sobol(space, index, 4) for index in range(1, 65)]


def test_grid_honours_conditions_without_duplicates():
    points = grid(SPACE)
    assert points[:2] == [
        {"train.loss": "hinge", "train.label_noise": 0.0},
        {"train.loss": "hinge", "train.label_noise": 0.2},
    ]
    # logistic: r1_gamma 0.1 alone, or 1.0 and 10.0 with four intervals each
    assert len(points) == size(SPACE) == 2 + 1 + 2 * 4
    assert all(a != b for a, b in itertools.combinations(points, 2))


def test_grid_refuses_a_continuum():
    space = (Parameter("train.lr_g", "uniform", low=0.1, high=0.2),)
    assert size(space) is None
    with pytest.raises(ValueError, match=r"train\.lr_g is continuous"):
        grid(space)


def test_size_of_a_huge_parent_is_quick():
    seed = Parameter("train.seed", "int_uniform", low=0, high=2**31 - 1, q=1)
    child = listed("train.loss", "hinge", "logistic", when=(("train.seed", (3, 4)),))
    assert size((seed, child)) == 2**31 - 2 + 2 * 2


def test_assign_asks_only_for_active_parameters():
    names = []

    def suggest(parameter):
        names.append(parameter.name)
        return parameter.at(parameter.size - 1)

    point = assign(SPACE, suggest)
    assert names == list(point) == ["train.loss", "train.r1_gamma", "train.r1_interval"]


def test_several_parents_must_all_agree():
    child = listed("c", 1, when=(("a", (1,)), ("b", (2, 3))))
    assert child.active({"a": 1, "b": 3})
    assert not child.active({"a": 1, "b": 4}) and not child.active({"a": 1})


def test_default_point_keeps_what_the_space_contains_and_takes_the_nearest_number_else():
    defaults = {"train.loss": "hinge", "train.label_noise": 0.3, "train.r1_gamma": 0.0}
    assert default_point(SPACE, defaults) == {"train.loss": "hinge", "train.label_noise": 0.2}
    constant = (Parameter("train.loss", "constant", ("logistic",)), R1)
    assert default_point(constant, {**defaults, "train.r1_gamma": 1.0}) == {
        "train.loss": "logistic",
        "train.r1_gamma": 1.0,
    }


@pytest.mark.parametrize(
    ("parameter", "default", "nearest"),
    [
        (listed("x", 4, 8, 32), 64, 32),
        (listed("x", 4, 8, 32), 12, 8),  # 12 / 8 is smaller than 32 / 12
        (listed("x", 0.0, 0.5), 0.2, 0.0),
        (listed("x", None, 0.5, 0.9), 0.6, 0.5),
        (listed("x", "color", ""), "translation", None),
        (listed("x", True, False), 1, None),
        (listed("x", None, 0.5), None, None),  # it contains the default
        (Parameter("x", "log_uniform_values", low=0.01, high=10.0), 0.0, 0.01),
        (Parameter("x", "uniform", low=0.0, high=0.5), 0.7, 0.5),
        (Parameter("x", "int_uniform", low=2, high=10, q=2), 5.1, 6),
        (Parameter("x", "uniform", low=0.0, high=0.5), "auto", None),
    ],
)
def test_the_nearest_value_to_a_default(parameter, default, nearest):
    assert parameter.nearest(default) == nearest
    point = default_point((parameter,), {"x": default})
    if parameter.contains(default):
        assert point == {"x": default}
    else:
        assert point == ({} if nearest is None else {"x": nearest})


@st.composite
def ranges(draw):
    distribution = draw(
        st.sampled_from(
            ("int_uniform", "uniform", "q_uniform", "log_uniform_values", "q_log_uniform_values")
        )
    )
    whole = distribution == "int_uniform" or draw(st.booleans())
    number = st.integers(1, 1000) if whole else st.floats(1e-6, 1e3)
    low, high = sorted((draw(number), draw(number)))
    q = 0
    if distribution == "int_uniform":
        q = 1
    elif distribution.startswith("q_"):
        q = draw(st.integers(1, 50) if whole else st.floats(1e-3, 50))
    parameter = Parameter("x", distribution, low=low, high=high, q=q)
    if q and not parameter.steps:
        parameter = Parameter("x", distribution, low=low, high=high + q, q=q)
    return parameter


@settings(max_examples=300, deadline=None)
@given(ranges(), st.randoms(use_true_random=False), st.floats(-1e6, 1e6))
def test_samples_and_snapped_values_lie_in_the_domain(parameter, rng, anything):
    for value in (parameter.sample(rng), parameter.snap(anything)):
        assert parameter.contains(value)
        if parameter.integer:
            assert type(value) is int
    if parameter.size:
        assert parameter.contains(parameter.at(0))
        assert parameter.contains(parameter.at(parameter.size - 1))
        assert parameter.snap(parameter.at(0)) == parameter.at(0)


@st.composite
def finite_spaces(draw):
    parameters = []
    for index in range(draw(st.integers(1, 5))):
        when = ()
        if parameters and draw(st.booleans()):
            parent = draw(st.sampled_from(parameters))
            values = draw(st.lists(st.sampled_from(parent.values), min_size=1, unique=True))
            when = ((parent.name, tuple(values)),)
        values = draw(st.lists(st.integers(0, 5), min_size=1, max_size=3, unique=True))
        parameters.append(listed(f"p{index}", *values, when=when))
    return tuple(parameters)


@settings(max_examples=100, deadline=None)
@given(finite_spaces(), st.randoms(use_true_random=False))
def test_grid_size_and_samples_agree(space, rng):
    points = grid(space)
    assert len(points) == size(space) == len({tuple(point.items()) for point in points})
    assert sample(space, rng) in points
