"""The cost estimate against the figures that it must reproduce."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from fastgan_ray.config.model import ModelConfig
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.models import build_discriminator
from fastgan_ray.search.cost.estimate import (
    EXTRA_D_PASSES,
    EXTRA_G_PASSES,
    gflop_per_image,
    hours,
    kimg_expected,
)
from fastgan_ray.search.file.read import spec_from_text
from fastgan_ray.train.losses import LOSSES, one_centred_penalty

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
    # All to 40, a third of them to 120, a ninth to 360, and a 27th to the end.
    expected = 40 + 80 / 3 + 240 / 9 + 40 / 27
    assert kimg_expected(spec_from_text(TEXT, "x.yaml")) == pytest.approx(10 * expected)
    without = spec_from_text(TEXT.replace("early_terminate", "# "), "x.yaml")
    assert kimg_expected(without) == 10 * 400


def test_repeats_take_the_whole_length():
    text = TEXT.replace("run_cap: 10", "run_cap: 29\nseeds: 3")
    without = spec_from_text(text.replace("early_terminate", "# "), "x.yaml")
    assert kimg_expected(without) == 29 * 400
    # One of 27 configurations finishes and gets two more seeds: 29 trials.
    expected = 27 * (40 + 80 / 3 + 240 / 9 + 40 / 27) + 2 * 400
    assert kimg_expected(spec_from_text(text, "x.yaml")) == pytest.approx(expected)


def cost(train=None, **model):
    settings = {
        "model": {"resolution": 64, "ngf": 8, "ndf": 8, **model},
        "train": {"reconstruction": "l1", **(train or {})},
    }
    return gflop_per_image(RunConfig.model_validate(settings))


def test_a_smaller_network_costs_less():
    assert cost(decode_part="none") < cost() < cost(ngf=16)


def test_self_supervision_costs_what_it_adds():
    none, ae = cost(self_supervision="none"), cost()
    contrastive, both = (cost(self_supervision=kind) for kind in ("contrastive", "ae_contrastive"))
    assert none < contrastive
    assert none < ae < both
    assert both - ae == pytest.approx(contrastive - none)


def test_a_discriminator_step_more_costs_no_generator_step():
    none = {"self_supervision": "none"}
    single, two, many = (cost({"d_steps": steps}, **none) for steps in (1, 2, 64))
    # The cost of G's step is shared by more images; the cost of D's steps stays.
    assert single > two > many
    assert single - two == pytest.approx((single - many) / 2 / (1 - 1 / 64))


def test_losses_that_need_more_passes_of_the_discriminator_are_known():
    assert set(EXTRA_D_PASSES) == {name for name, loss in LOSSES.items() if loss.penalty}
    assert set(EXTRA_G_PASSES) == {name for name, loss in LOSSES.items() if loss.paired}


def test_losses_cost_their_additional_passes():
    none = {"self_supervision": "none"}
    hinge, paired, penalised = (
        cost({"loss": loss}, **none) for loss in ("hinge", "relativistic", "wasserstein")
    )
    # One pass on a real picture; and six for a gradient penalty, see the counter below.
    assert penalised - hinge == pytest.approx(6 * (paired - hinge))
    assert cost({"loss": "logistic"}, **none) == hinge


def test_a_gradient_penalty_costs_six_passes():
    config = ModelConfig.model_validate({"resolution": 32, "ngf": 8, "ndf": 16})
    discriminator = build_discriminator(config)

    def make_pictures():
        # No leaves: the counter does not follow `autograd.grad` to them.
        return [torch.zeros(1, 3, side, side).requires_grad_() * 1 for side in (32, 16)]

    with FlopCounterMode(display=False) as once, torch.no_grad():
        discriminator(*make_pictures())
    with FlopCounterMode(display=False) as penalised:
        pictures = make_pictures()
        one_centred_penalty(discriminator(*pictures)[0], pictures).backward()
    ratio = penalised.get_total_flops() / once.get_total_flops()
    assert ratio == pytest.approx(6, rel=0.01)
