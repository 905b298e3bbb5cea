"""The cost estimate against the figures that it must reproduce."""

from __future__ import annotations

import pytest

from fastgan_ray.config.schema import RunConfig
from fastgan_ray.search.estimate import estimate, gflop_per_image, hours
from fastgan_ray.search.spec import spec_from_text

TEXT = """\
method: random
metric: {name: fid}
run_cap: 10
early_terminate: {type: hyperband, min_iter: 40, eta: 3}
base: {model: {resolution: 32, ngf: 4, ndf: 4}, train: {total_kimg: 400, reconstruction: l1}}
parameters:
  train.lr_g: {min: 1e-5, max: 1e-3}
"""


def test_published_step_has_its_measured_cost():
    gflop = gflop_per_image(RunConfig())
    assert 8 * gflop == pytest.approx(1607, rel=0.01)
    assert hours(80, gflop) == pytest.approx(1, rel=0.01)  # the paper's hour on a 2080 Ti


def test_early_stopping_lowers_the_expected_length():
    cost = estimate(spec_from_text(TEXT, "x.yaml"))
    assert cost.kimg_at_most == 10 * 400
    # All to 40, a third of them to 120, a ninth to 360, and a 27th to the end.
    expected = 40 + 80 / 3 + 240 / 9 + 40 / 27
    assert cost.kimg_expected == pytest.approx(10 * expected)
    without = spec_from_text(TEXT.replace("early_terminate", "# "), "x.yaml")
    assert estimate(without).kimg_expected == 4000


def test_a_smaller_network_costs_less():
    def cost(**model):
        settings = {"model": {"resolution": 64, "ngf": 8, "ndf": 8, **model}}
        return gflop_per_image(RunConfig.model_validate(settings))

    assert cost(decode_part="none") < cost() < cost(ngf=16)
