"""StyleGAN2-ADA's pipe: the published distributions, gates, colour matrix and order."""

import math

import pytest
import torch

from fastgan_ray.augment import bgc
from fastgan_ray.augment.geometry import warp

COUNT = 40_000


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(count: int, p: float, rng: torch.Generator) -> dict[str, torch.Tensor]:
    return bgc.gate(bgc.draw(count, rng), p)


def pictures(count: int = 4, side: int = 8, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.rand((count, 3, side, side), generator=rng(1), dtype=dtype) * 2 - 1


def neutral(count: int = 1, **changes: float) -> dict[str, torch.Tensor]:
    """The draw that changes nothing, but for `changes`."""
    return draw(count, 0.0, rng()) | {
        name: torch.full((count,), value, dtype=torch.float64) for name, value in changes.items()
    }


@pytest.fixture(scope="module")
def always():
    return draw(COUNT, 1.0, rng())


NORMAL = {  # what is normally distributed, and its standard deviation
    "scale": (torch.log2, 0.2),
    "stretch": (torch.log2, 0.2),
    "fraction": (torch.Tensor.flatten, 0.125),
    "brightness": (torch.Tensor.flatten, 0.2),
    "contrast": (torch.log2, 0.5),
    "saturation": (torch.log2, 1.0),
}
UNIFORM = {
    "shift": 0.125,
    "angle_before": math.pi,
    "angle_after": math.pi,
    "hue": math.pi,
}


@pytest.mark.parametrize("name", NORMAL)
def test_normal_parameters_have_the_published_spread(always, name):
    transform, sd = NORMAL[name]
    values = transform(always[name]).flatten() / sd
    assert abs(float(values.mean())) < 0.02
    assert abs(float(values.std()) - 1) < 0.02
    within = (values.abs() < 1).double().mean()
    assert abs(float(within) - 0.6827) < 0.01


@pytest.mark.parametrize("name", UNIFORM)
def test_uniform_parameters_fill_the_published_range(always, name):
    values = always[name].flatten() / UNIFORM[name]
    assert values.abs().max() <= 1
    shares = torch.histc(values, 10, -1, 1) / len(values)
    assert (shares - 0.1).abs().max() < 0.006


@pytest.mark.parametrize(("name", "count"), [("flip", 2), ("luma_flip", 2), ("quarters", 4)])
def test_choices_are_equally_likely(always, name, count):
    shares = torch.bincount(always[name].long(), minlength=count) / COUNT
    assert len(shares) == count
    assert (shares - 1 / count).abs().max() < 0.01


@pytest.mark.parametrize("p", [0.1, 0.5, 0.85])
def test_each_operation_is_applied_with_probability_p_on_its_own(p):
    drawn = draw(COUNT, p, rng())
    rotate = 1 - math.sqrt(1 - p)
    expected = {
        "flip": p / 2,  # one of two choices, one of which does nothing
        "luma_flip": p / 2,
        "quarters": p * 3 / 4,
        "angle_before": rotate,
        "angle_after": rotate,
    }
    off = draw(1, 0.0, rng())
    moved = {
        name: (value != off[name]).reshape(COUNT, -1).any(dim=1) for name, value in drawn.items()
    }
    for name, gate in moved.items():
        assert abs(float(gate.double().mean()) - expected.get(name, p)) < 0.01, name
    either = moved["angle_before"] | moved["angle_after"]
    assert abs(float(either.double().mean()) - p) < 0.01
    both = moved["scale"] & moved["contrast"]
    assert abs(float(both.double().mean()) - p**2) < 0.01


def test_at_zero_pictures_are_the_same_bits_and_at_one_none_is():
    images = pictures(200, 8, torch.float32)
    assert torch.equal(bgc.apply(images, draw(200, 0.0, rng())), images)
    changed = bgc.apply(images, draw(200, 1.0, rng()))
    assert (changed != images).reshape(200, -1).any(dim=1).all()


def test_pictures_for_which_nothing_was_drawn_are_the_same_bits():
    images = pictures(2000, 4, torch.float32)
    drawn = draw(2000, 0.1, rng())
    off = draw(1, 0.0, rng())
    untouched = torch.stack(
        [(value == off[name]).reshape(2000, -1).all(dim=1) for name, value in drawn.items()]
    ).all(dim=0)
    assert 0.2 < untouched.double().mean() < 0.5
    changed = bgc.apply(images, drawn)
    assert torch.equal(changed[untouched], images[untouched])
    assert (changed != images).reshape(2000, -1).any(dim=1)[~untouched].double().mean() > 0.8


def test_the_numbers_drawn_do_not_depend_on_p():
    some, all_of_them = draw(100, 0.5, rng(3)), draw(100, 1.0, rng(3))
    off = draw(1, 0.0, rng())
    for name, value in some.items():
        assert torch.equal(torch.where(value == off[name], value, all_of_them[name]), value)


def test_geometry_comes_in_the_published_order():
    drawn = draw(1, 1.0, rng(2)) | {
        name: torch.tensor([value], dtype=torch.float64)
        for name, value in (("flip", 1), ("quarters", 3))
    }
    forward = torch.eye(3, dtype=torch.float64)

    def then(a, b, c, d, x=0.0, y=0.0):
        nonlocal forward
        forward = torch.tensor([[a, b, x], [c, d, y], [0, 0, 1]], dtype=torch.float64) @ forward

    def rotate(angle):
        then(math.cos(angle), -math.sin(angle), math.sin(angle), math.cos(angle))

    scale, stretch = float(drawn["scale"]), float(drawn["stretch"])
    then(-1, 0, 0, 1)
    rotate(3 * math.pi / 2)
    then(1, 0, 0, 1, *((drawn["shift"][0] * 32).round() / 16).tolist())
    then(scale, 0, 0, scale)
    rotate(float(drawn["angle_before"]))
    then(stretch, 0, 0, 1 / stretch)
    rotate(float(drawn["angle_after"]))
    then(1, 0, 0, 1, *(2 * drawn["fraction"][0]).tolist())
    inverse = bgc.inverse_geometry(drawn, (32, 32))[0]
    torch.testing.assert_close(inverse @ forward, torch.eye(3, dtype=torch.float64))


def recoloured(image: torch.Tensor, **parameters: float) -> torch.Tensor:
    return bgc.apply(image, neutral(len(image), **parameters))


def luma(image: torch.Tensor) -> torch.Tensor:
    return image.mean(dim=1, keepdim=True)


def test_brightness_is_added():
    images = pictures()
    torch.testing.assert_close(recoloured(images, brightness=0.3), images + 0.3)


def test_contrast_multiplies_about_mid_grey():
    images = pictures()
    torch.testing.assert_close(recoloured(images, contrast=1.7), images * 1.7)


def test_luma_flip_negates_the_grey_and_keeps_the_colour():
    images = pictures()
    flipped = recoloured(images, luma_flip=1)
    torch.testing.assert_close(flipped - luma(flipped), images - luma(images))
    torch.testing.assert_close(luma(flipped), -luma(images))
    torch.testing.assert_close(recoloured(flipped, luma_flip=1), images)


def test_hue_by_a_half_turn_twice_is_the_identity():
    images = pictures()
    turned = recoloured(images, hue=math.pi)
    torch.testing.assert_close(turned - luma(images), luma(images) - images)
    torch.testing.assert_close(recoloured(turned, hue=math.pi), images)


def test_hue_by_a_third_of_a_turn_moves_red_to_green_to_blue():
    images = pictures()
    turned = recoloured(images, hue=2 * math.pi / 3)
    torch.testing.assert_close(turned, images.roll(1, dims=1))


@pytest.mark.parametrize("angle", [-2.0, 0.4, 3.0])
def test_hue_keeps_luma_and_chroma(angle):
    images = pictures()
    turned = recoloured(images, hue=angle)
    torch.testing.assert_close(luma(turned), luma(images))
    torch.testing.assert_close(turned.norm(dim=1), images.norm(dim=1))


def test_saturation_multiplies_the_distance_from_grey():
    images = pictures()
    changed = recoloured(images, saturation=0.25)
    torch.testing.assert_close(changed, luma(images) + 0.25 * (images - luma(images)))


def test_the_colour_matrix_is_the_operations_in_the_published_order():
    images = pictures()
    values = {"brightness": 0.2, "contrast": 1.3, "luma_flip": 1.0, "hue": 0.7, "saturation": 1.9}
    expected = images
    for name, value in values.items():
        expected = recoloured(expected, **{name: value})
    torch.testing.assert_close(recoloured(images, **values), expected)


def test_everything_at_once_is_differentiable():
    images = pictures(3, 4).requires_grad_()
    drawn = draw(3, 0.9, rng(4))
    assert torch.autograd.gradcheck(lambda x: bgc.apply(x, drawn), images)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_colours_keep_their_digits_under_autocast(dtype):
    images = pictures(8, 16, torch.float32)
    drawn = draw(8, 1.0, rng())
    with torch.autocast("cpu", torch.bfloat16):
        changed = bgc.apply(images.to(dtype), drawn)
    assert changed.dtype == dtype
    tolerance = 1e-6 if dtype == torch.float32 else 0.1
    torch.testing.assert_close(changed.float(), bgc.apply(images, drawn), rtol=0, atol=tolerance)


def test_geometry_is_the_warp_of_its_matrix():
    images = pictures(16, 8)
    drawn = draw(16, 0.8, rng())
    without_colour = drawn | {
        name: neutral(16)[name]
        for name in ("brightness", "contrast", "luma_flip", "hue", "saturation")
    }
    expected = warp(images, bgc.inverse_geometry(drawn, (8, 8)))
    assert torch.equal(bgc.apply(images, without_colour), expected)
