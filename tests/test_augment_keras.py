"""Keras' chain: one gate for all of it, the example's ranges, the order of its layers."""

import math

import pytest
import torch

from fastgan_ray.augment import keras, pipeline
from fastgan_ray.augment.geometry import unrotate, warp
from fastgan_ray.config.augment import AugmentConfig

COUNT = 40_000
LIMITS = (0.125, 0.125, 0.25)  # of shift (side), rotation (turn), zoom (side): the example's


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(count: int, p: float, rng: torch.Generator) -> dict[str, torch.Tensor]:
    return keras.gate(keras.draw(count, rng, *LIMITS), p)


def pictures(count: int = 4, side: int = 8) -> torch.Tensor:
    return torch.rand((count, 3, side, side), generator=rng(1), dtype=torch.float64) * 2 - 1


@pytest.mark.parametrize("p", [0.2, 0.85])
def test_one_gate_opens_the_whole_chain(p):
    drawn = draw(COUNT, p, rng())
    chosen = drawn["angle"] != 0
    assert abs(float(chosen.double().mean()) - p) < 0.01
    assert torch.equal(chosen, (drawn["shift"] != 0).all(dim=1))
    assert torch.equal(chosen, (drawn["shown"] != 1).all(dim=1))
    assert abs(float(drawn["flip"][chosen].double().mean()) - 0.5) < 0.02
    assert not drawn["flip"][~chosen].any()


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("shift", -0.125, 0.125), ("angle", -math.pi / 4, math.pi / 4), ("shown", 0.75, 1.0)],
)
def test_ranges_are_the_examples_and_evenly_filled(name, low, high):
    values = draw(COUNT, 1.0, rng())[name].flatten()
    assert low <= values.min() and values.max() <= high
    shares = torch.histc(values, 10, low, high) / len(values)
    assert (shares - 0.1).abs().max() < 0.006


@pytest.mark.parametrize(
    ("changes", "name", "low", "high"),
    [
        ({"keras_shift": 0.3}, "shift", -0.3, 0.3),
        ({"keras_rotation": 0.5}, "angle", -math.pi, math.pi),
        ({"keras_zoom": 0.6}, "shown", 0.4, 1.0),
        ({"keras_shift": 0.0}, "shift", 0.0, 0.0),
        ({"keras_rotation": 0.0}, "angle", 0.0, 0.0),
        ({"keras_zoom": 0.0}, "shown", 1.0, 1.0),
    ],
)
def test_the_limits_are_settings_and_change_nothing_else(changes, name, low, high):
    drawn, usual = (
        pipeline.gate(pipeline.draw(AugmentConfig(policy="keras", **fields), COUNT, rng()), 1.0)
        for fields in (changes, {})
    )
    values = drawn["keras"][name]
    assert float(values.min()) == pytest.approx(low, abs=1e-3)
    assert float(values.max()) == pytest.approx(high, abs=1e-3)
    others = drawn["keras"].keys() - {name}
    assert all(torch.equal(drawn["keras"][other], usual["keras"][other]) for other in others)


def test_height_and_width_are_zoomed_apart():
    shown = draw(COUNT, 1.0, rng())["shown"]
    assert abs(float(torch.corrcoef(shown.T)[0, 1])) < 0.02


def test_at_zero_pictures_are_the_same_bits():
    images = pictures(100).float()
    assert torch.equal(keras.apply(images, draw(100, 0.0, rng())), images)


def test_pictures_behind_a_shut_gate_are_the_same_bits():
    images = pictures(100).float()
    drawn = draw(100, 0.5, rng())
    changed = keras.apply(images, drawn)
    assert torch.equal((changed == images).all(dim=(1, 2, 3)), drawn["angle"] == 0)


def test_the_layers_come_in_the_examples_order():
    images = pictures(1, 16)
    drawn = {
        "flip": torch.ones(1),
        "shift": torch.tensor([[0.11, -0.05]], dtype=torch.float64),  # 2 and -1 pixels
        "angle": torch.tensor([0.6], dtype=torch.float64),
        "shown": torch.ones((1, 2), dtype=torch.float64),
    }
    moved = images.flip(3)
    moved = torch.cat([moved[..., :2].flip(3), moved[..., :-2]], dim=3)
    moved = torch.cat([moved[:, :, 1:], moved[:, :, -1:]], dim=2)
    rotated = warp(moved, unrotate(drawn["angle"]))
    inside = (slice(None), slice(None), slice(5, 11), slice(5, 11))  # edges mirror elsewhere
    torch.testing.assert_close(keras.apply(images, drawn)[inside], rotated[inside])


def test_zoom_shows_the_middle_part():
    image = torch.zeros(1, 3, 16, 16)
    image[..., 2:14, 4:12] = 1  # three quarters of the height, half of the width
    drawn = draw(1, 0.0, rng()) | {"shown": torch.tensor([[0.5, 0.75]], dtype=torch.float64)}
    torch.testing.assert_close(keras.apply(image, drawn)[..., 1:-1, 1:-1], torch.ones(1, 3, 14, 14))


def test_it_is_differentiable():
    images = pictures(2, 4).requires_grad_()
    drawn = draw(2, 1.0, rng())
    assert torch.autograd.gradcheck(lambda x: keras.apply(x, drawn), images)
