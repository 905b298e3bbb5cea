"""LeCam's penalty and DigGAN's gradient gap, against slow and obvious versions."""

import math

import pytest
import torch

from fastgan_ray.train import lecam
from fastgan_ray.train.losses import gradient_gap

CPU = torch.device("cpu")


def test_the_averages_are_those_of_adam_without_bias():
    decay, state, sums = 0.9, lecam.lecam_state(CPU), [0.0, 0.0]
    for step, pair in enumerate([(1.0, -2.0), (3.0, 0.5), (-1.0, 4.0)], 1):
        state = lecam.update(state, torch.tensor(pair), decay)
        sums = [
            decay * total + (1 - decay) * value for total, value in zip(sums, pair, strict=True)
        ]
        expected = [total / (1 - decay**step) for total in sums]
        assert [float(state.real / state.weight), float(state.fake / state.weight)] == (
            pytest.approx(expected, rel=1e-6)
        )


def test_the_penalty_by_hand():
    state = lecam.lecam_state(CPU, real=1.0, fake=-0.5, weight=0.5)  # the averages are 2 and -1
    real, fake = torch.tensor([[0.0], [-3.0]]), torch.tensor([[5.0], [1.5]])
    # Above -1: 0 by 1, and -3 not. Below 2: 5 not, and 1.5 by 0.5.
    assert float(lecam.penalty(real, fake, state)) == pytest.approx((1 + 0) / 2 + (0 + 0.25) / 2)


def test_the_penalty_moves_logits_towards_the_other_average_and_not_the_averages():
    logits = torch.tensor([[2.0], [-2.0]], requires_grad=True)
    state = lecam.update(lecam.lecam_state(CPU), logits.detach().flatten(), 0.9)
    lecam.penalty(logits[:1], logits[1:], state).backward()
    assert logits.grad.flatten().tolist() == pytest.approx([2 * 4.0, -2 * 4.0])
    assert not state.real.requires_grad


def test_the_gradient_gap_of_functions_whose_gradients_are_known():
    real = torch.randn(3, 2, 4, 4).requires_grad_()
    fake = torch.randn(3, 2, 4, 4).requires_grad_()
    slope = torch.tensor(2.0, requires_grad=True)
    # The gradient of slope * (sum of a picture) has the norm slope * sqrt(number of its values).
    root = math.sqrt(2 * 4 * 4)
    real_logits = slope * real.sum((1, 2, 3))[:, None]
    fake_logits = 3 * fake.sum((1, 2, 3))[:, None]
    gap = gradient_gap(real_logits, [real], fake_logits, [fake])
    assert gap.item() == pytest.approx((root * (3 - 2)) ** 2, rel=1e-5)
    gap.backward()
    assert float(slope.grad) == pytest.approx(2 * root * (3 - 2) * -root, rel=1e-5)


def test_the_gradient_gap_compares_pictures_one_by_one():
    real, fake = (torch.randn(4, 1, 3, 3).requires_grad_() for _ in range(2))
    logits = [image.square().sum((1, 2, 3))[:, None] for image in (real, fake)]
    slow = [
        (float((2 * b).norm()) - float((2 * a).norm())) ** 2
        for a, b in zip(real.detach(), fake.detach(), strict=True)
    ]
    gap = gradient_gap(logits[0], [real], logits[1], [fake])
    assert gap.item() == pytest.approx(sum(slow) / 4, rel=1e-5)
