"""DiffAugment: exact shifts, the published ranges, the same draw at two sizes."""

import pytest
import torch
import torch.nn.functional as F

from fastgan_ray.augment import pipeline
from fastgan_ray.augment.pipeline import apply
from fastgan_ray.config.augment import AugmentConfig

OPS = ("color", "translation", "cutout")


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(config: AugmentConfig, count: int, rng: torch.Generator) -> pipeline.Draw:
    return pipeline.draw(config, count, rng)


def pictures(count: int = 4, side: int = 16, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.rand((count, 3, side, side), generator=rng(1), dtype=dtype) * 2 - 1


@pytest.mark.parametrize("policy", OPS)
def test_probability_zero_changes_nothing(policy):
    config = AugmentConfig(policy=policy, probability=0.0)
    images = pictures(64)
    assert torch.equal(apply(images, draw(config, 64, rng())), images)


def test_the_same_pictures_are_chosen_for_every_operation():
    config = AugmentConfig(policy="color,cutout", probability=0.5)
    drawn = draw(config, 1000, rng())
    assert torch.equal(drawn["color"]["chosen"], drawn["cutout"]["centre"].isfinite().all(dim=1))


@pytest.mark.parametrize("policy", OPS)
def test_probability_is_the_share_of_changed_pictures(policy):
    config = AugmentConfig(policy=policy, probability=0.3)
    images = pictures(1, 32).expand(2000, -1, -1, -1)
    difference = apply(images, draw(config, 2000, rng())) - images
    share = (difference.abs().amax(dim=(1, 2, 3)) > 1e-4).float().mean()
    assert 0.25 < share < 0.35


def test_translation_is_an_exact_shift_with_zero_fill_within_an_eighth():
    config = AugmentConfig(policy="translation")
    images = pictures(500, 16)
    changed = apply(images, draw(config, 500, rng()))
    seen = set()
    for before, after in zip(images, changed, strict=True):
        padded = F.pad(before, (2, 2, 2, 2))
        matches = [
            (2 - top, 2 - left)
            for top in range(5)
            for left in range(5)
            if torch.equal(padded[:, top : top + 16, left : left + 16], after)
        ]
        assert len(matches) == 1
        seen.add(matches[0])
    assert len(seen) == 25  # every shift of -2..2 in both directions


def test_two_sizes_get_the_same_shift_and_the_same_hole():
    config = AugmentConfig(policy="translation,cutout")
    small = pictures(50, 16)
    parameters = draw(config, 50, rng())
    for scale in (2, 4):
        large = small.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
        holes = [
            (apply(torch.ones_like(x), parameters) == 0).float().mean(dim=(1, 2, 3))
            for x in (small, large)
        ]
        torch.testing.assert_close(holes[0], holes[1], rtol=0, atol=0.15)


def test_cutout_blanks_a_square_of_half_the_side():
    config = AugmentConfig(policy="cutout")
    changed = apply(torch.ones(300, 3, 16, 16), draw(config, 300, rng()))
    areas = (changed[:, 0] == 0).sum(dim=(1, 2))
    assert areas.max() == 64
    assert areas.min() >= 16  # a centre in a corner leaves a quarter of the square inside
    assert torch.equal(changed[:, 0], changed[:, 2])


def test_color_ranges_are_the_published_ones():
    parameters = draw(AugmentConfig(policy="color"), 20_000, rng())["color"]
    for name, (low, high) in {
        "brightness": (-0.5, 0.5),
        "saturation": (0.0, 2.0),
        "contrast": (0.5, 1.5),
    }.items():
        value = parameters[name]
        assert low <= value.min() < low + 0.01
        assert high - 0.01 < value.max() <= high


def test_color_does_what_its_parameters_say():
    image = pictures(1)
    neutral = {
        "chosen": torch.tensor([True]),
        "brightness": torch.zeros(1),
        "saturation": torch.ones(1),
        "contrast": torch.ones(1),
    }

    def changed(**parameters):
        return apply(image, {"color": neutral | parameters})

    grey = changed(saturation=torch.zeros(1))
    torch.testing.assert_close(grey, image.mean(dim=1, keepdim=True).expand_as(image))
    lighter = changed(brightness=torch.full((1,), 0.25))
    torch.testing.assert_close(lighter, image + 0.25)
    upsample_conv2x = changed(contrast=torch.full((1,), 2.0))
    torch.testing.assert_close(upsample_conv2x, 2 * image - image.mean(), rtol=1e-5, atol=1e-5)
