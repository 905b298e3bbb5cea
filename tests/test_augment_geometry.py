"""Warps: exact moves against torch's own, the resampling against a slow oracle, its gradients."""

import math

import pytest
import torch

from fastgan_ray.augment import geometry
from fastgan_ray.augment.geometry import (
    change_some,
    unquarter,
    unrotate,
    unscale,
    unshift,
    warp,
)


def pictures(count: int = 4, side: int = 8, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    rng = torch.Generator().manual_seed(1)
    return torch.rand((count, 3, side, side), generator=rng, dtype=dtype) * 2 - 1


def vector(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def mirrored(index: int, side: int) -> int:
    """d c b a | a b c d | d c b a, by walking."""
    while not 0 <= index < side:
        index = -1 - index if index < 0 else 2 * side - 1 - index
    return index


def slow_warp(image: torch.Tensor, inverse: torch.Tensor) -> torch.Tensor:
    """Each pixel in a loop: where it comes from, and the bilinear mean of the four around it."""
    height, width = image.shape[-2:]
    result = torch.empty_like(image)
    for row in range(height):
        for column in range(width):
            place = vector((2 * column + 1) / width - 1, (2 * row + 1) / height - 1, 1)
            x, y = (((inverse[:2] @ place) + 1) * vector(width, height) / 2 - 0.5).tolist()
            left, top = math.floor(x), math.floor(y)
            total = torch.zeros(3, dtype=image.dtype)
            for i, weight_y in ((top, top + 1 - y), (top + 1, y - top)):
                for j, weight_x in ((left, left + 1 - x), (left + 1, x - left)):
                    pixel = image[:, mirrored(i, height), mirrored(j, width)]
                    total += weight_y * weight_x * pixel
            result[:, row, column] = total
    return result


@pytest.mark.parametrize("turns", range(4))
def test_quarter_turns_are_torchs_clockwise_bit_for_bit(turns):
    images = pictures(2)
    turned = warp(images, unquarter(torch.full((2,), turns)))
    assert torch.equal(turned, torch.rot90(images, -turns, (2, 3)))


def test_mirroring_is_a_flip_bit_for_bit():
    images = pictures(2)
    assert torch.equal(warp(images, unscale(vector(-1, 1), vector(1, 1))[[0, 0]]), images.flip(3))
    assert torch.equal(warp(images, unscale(vector(1, 1), vector(-1, -1))), images.flip(2))


@pytest.mark.parametrize(("right", "down"), [(0, 0), (1, 0), (0, -2), (-3, 5), (9, 1), (-20, 0)])
def test_whole_shifts_are_exact_and_mirror_at_the_edge(right, down):
    images = pictures(1)
    shifted = warp(images, unshift(vector(right / 8, down / 8)[None], (8, 8)))
    for row in range(8):
        for column in range(8):
            source = images[..., mirrored(row - down, 8), mirrored(column - right, 8)]
            assert torch.equal(shifted[..., row, column], source)


def test_shifts_are_rounded_to_pixels_of_the_side():
    share = vector(0.1, -0.06)[None]
    inverse = unshift(share, (16, 16))  # 1.6 and -0.96 pixels
    torch.testing.assert_close(inverse[0, :2, 2], vector(-2 * 2 / 16, 2 * 1 / 16))


def test_moves_in_a_row_are_exact():
    images = pictures(1)
    inverse = (
        unscale(vector(-1), vector(1))
        @ unquarter(torch.tensor([1]))
        @ unshift(vector(0.125, 0.0)[None], (8, 8))
    )
    turned = torch.rot90(images.flip(3), -1, (2, 3))
    expected = torch.cat([turned[..., :1], turned[..., :-1]], dim=3)
    assert torch.equal(warp(images, inverse), expected)


@pytest.mark.parametrize(
    "inverse",
    [
        unrotate(vector(0.3)),
        unscale(vector(1.7), vector(0.6)),
        unshift(vector(0.31, -0.07)[None]),
        unrotate(vector(2.0)) @ unscale(vector(0.4), vector(0.4)) @ unshift(vector(1.3, 2.1)[None]),
    ],
    ids=["rotation", "scale", "shift", "far outside"],
)
def test_resampling_equals_the_slow_oracle(inverse):
    image = pictures(1, 6)
    torch.testing.assert_close(warp(image, inverse)[0], slow_warp(image[0], inverse[0]))


def test_a_picture_that_stays_is_the_same_bits_beside_one_that_moves():
    images = pictures(3, 8, torch.float32)
    shift = unshift(vector(0, 0, 0, 0, 0.25, 0).view(3, 2), (8, 8))
    inverse = unrotate(vector(0.0, 0.5, 0.0)) @ shift
    changed = warp(images, inverse)
    assert torch.equal(changed[0], images[0])
    assert not torch.equal(changed[1], images[1])
    assert torch.equal(changed[2, :, :, 2:], images[2, :, :, :-2])


def test_there_is_one_resampling_and_only_of_what_needs_it(monkeypatch):
    seen = []
    sample = geometry.F.grid_sample

    def counted(images, *arguments, **options):
        seen.append(len(images))
        return sample(images, *arguments, **options)

    monkeypatch.setattr(geometry.F, "grid_sample", counted)
    angles = vector(0.0, 0.3, 0.0, -0.7)
    warp(pictures(4), unrotate(angles) @ unscale(1 + angles.abs(), 1 + angles.abs()))
    assert seen == [2]
    warp(pictures(4), unquarter(torch.arange(4)))
    assert seen == [2]


def test_clockwise_is_clockwise():
    image = torch.zeros(1, 1, 9, 9)
    image[..., 0, 4] = 1  # at the top
    turned = warp(image, unrotate(vector(math.pi / 4)))
    row, column = divmod(int(turned.argmax()), 9)
    assert row < 4 < column  # at the top right


def test_magnifying_magnifies():
    image = torch.zeros(1, 1, 16, 16)
    image[..., 6:10, 6:10] = 1
    assert warp(image, unscale(vector(2), vector(2))).sum() > 3 * image.sum()


def test_gradients_of_every_kind_of_move():
    images = pictures(4, 4).requires_grad_()
    inverse = unrotate(vector(0.0, 0.3, 0.0, 0.0)) @ unquarter(torch.tensor([0, 0, 1, 2]))
    inverse = inverse @ unshift(vector(0, 0, 0, 0, 0.25, 0, 0, 0.25).view(4, 2), (4, 4))
    assert torch.autograd.gradcheck(lambda x: warp(x, inverse), images)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_the_dtype_stays_and_half_precision_does_not_blur_places(dtype):
    images = pictures(1, 64, torch.float64)
    inverse = unrotate(vector(0.3))
    changed = warp(images.to(dtype), inverse)
    assert changed.dtype == dtype
    torch.testing.assert_close(changed.double(), warp(images, inverse), rtol=0, atol=0.02)


def test_places_stay_exact_under_autocast():
    images = pictures(1, 64, torch.float32)
    inverse = unrotate(vector(0.3))
    with torch.autocast("cpu", torch.bfloat16):
        changed = warp(images, inverse)
    assert torch.equal(changed, warp(images, inverse))


@pytest.mark.parametrize("size", [(6, 4), (4, 8)])
@pytest.mark.parametrize(
    "inverse",
    [
        lambda size: unrotate(vector(0.3), size),
        lambda size: unscale(vector(1.7), vector(0.6)),
        lambda size: unshift(vector(0.31, -0.07)[None]),
        lambda size: unquarter(torch.tensor([1]), size) @ unshift(vector(0.5, 0.25)[None], size),
    ],
    ids=["rotation", "scale", "shift", "quarter turn"],
)
def test_resampling_a_rectangle_equals_the_slow_oracle(inverse, size):
    image = pictures(1, 8)[..., : size[0], : size[1]]
    change = inverse(size)
    torch.testing.assert_close(warp(image, change)[0], slow_warp(image[0], change[0]))


def test_a_rectangle_turns_without_changing_its_proportions():
    image = torch.zeros(1, 1, 16, 24, dtype=torch.float64)
    image[..., 4:12, 8:16] = 1  # a square in the middle
    turned = warp(image, unquarter(torch.tensor([1]), (16, 24)))
    torch.testing.assert_close(turned, image)
    around = warp(image, unrotate(vector(math.pi), (16, 24)))
    torch.testing.assert_close(around, image)
    moved = torch.zeros_like(image)
    moved[..., 2, 12] = 1  # 5.5 pixels above the centre, 0.5 to the right
    right = warp(moved, unquarter(torch.tensor([1]), (16, 24)))  # then 5.5 right, 0.5 down
    assert right[0, 0, 8, 17] == pytest.approx(1)


def test_whole_shifts_of_a_rectangle_count_pixels_of_each_side():
    image = torch.arange(24.0, dtype=torch.float64).view(1, 1, 4, 6)
    inverse = unshift(vector(1 / 6, 0.2)[None], (4, 6))  # 1 pixel right, 0.8 rounded to 1 down
    changed = warp(image, inverse)
    torch.testing.assert_close(changed[..., 1:, 1:], image[..., :-1, :-1])
    assert torch.equal(warp(image, unshift(vector(0, 0)[None], (4, 6))), image)


def test_change_some_hands_over_the_rows_that_belong_together():
    images, amounts = pictures(5), torch.arange(5.0)
    chosen = torch.tensor([True, False, True, False, True])
    changed = change_some(images, chosen, lambda x, n: x + n[:, None, None, None], amounts)
    for index in range(5):
        expected = images[index] + index if chosen[index] else images[index]
        assert torch.equal(changed[index], expected)
