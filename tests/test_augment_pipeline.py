"""Policies: operations alone and stacked, one draw at two sizes, gradients, same seeds."""

import pytest
import torch
import torch.nn.functional as F

from fastgan_ray.augment import pipeline
from fastgan_ray.augment.pipeline import OPS, apply
from fastgan_ray.config.augment import ADAPTIVE_OPS, AUGMENT_OPS, AugmentConfig

STACKED = ["bgc,color", "color,translation,bgc", "keras,cutout", "cutout, keras,bgc, color"]


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(config: AugmentConfig, count: int, rng: torch.Generator, p: float) -> pipeline.Draw:
    return pipeline.gate(pipeline.draw(config, count, rng), p)


def pictures(count: int = 4, side: int = 16, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.rand((count, 3, side, side), generator=rng(1), dtype=dtype) * 2 - 1


def smooth(count: int, side: int) -> torch.Tensor:
    """Pictures without detail: coloured clouds of 4 waves at most."""
    coarse = torch.rand((count, 3, 5, 5), generator=rng(1)) * 2 - 1
    return F.interpolate(coarse, size=side, mode="bicubic", align_corners=False)


def test_table_and_schema_name_the_same_operations():
    assert tuple(OPS) == AUGMENT_OPS
    assert set(ADAPTIVE_OPS) < set(OPS)


@pytest.mark.parametrize("policy", ["", *OPS, *STACKED])
def test_every_policy_is_differentiable(policy):
    config = AugmentConfig(policy=policy)
    images = pictures(2, 6, torch.float64).requires_grad_()
    drawn = draw(config, 2, rng(), p=0.8)
    assert torch.autograd.gradcheck(lambda x: apply(x, drawn), images)


@pytest.mark.parametrize("policy", ["", *OPS, *STACKED])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_shape_dtype_and_finite_values_stay(policy, dtype):
    images = pictures(16, 32, dtype)
    with torch.autocast("cpu", torch.bfloat16):
        changed = apply(images, draw(AugmentConfig(policy=policy), 16, rng(), p=1.0))
    assert changed.dtype == dtype and changed.shape == images.shape
    assert changed.isfinite().all()


def test_operations_come_in_the_policys_order():
    images = pictures()
    first, second = (AugmentConfig(policy=policy) for policy in ("bgc,cutout", "cutout,bgc"))
    drawn = draw(first, 4, rng(), p=1.0)
    assert list(drawn) == ["bgc", "cutout"]
    assert list(draw(second, 4, rng(), p=1.0)) == ["cutout", "bgc"]
    one_by_one = apply(apply(images, {"bgc": drawn["bgc"]}), {"cutout": drawn["cutout"]})
    assert torch.equal(apply(images, drawn), one_by_one)
    # A hole that comes last is a hole; one that comes first is recoloured.
    assert (apply(images, drawn) == 0).float().mean() > 0.1


@pytest.mark.parametrize("policy", ADAPTIVE_OPS)
def test_p_of_zero_is_the_identity_bit_for_bit(policy):
    images = pictures(100)
    assert apply(images, draw(AugmentConfig(policy=policy), 100, rng(), p=0.0)) is images


@pytest.mark.parametrize("policy", ["color", "bgc", "keras", "color,bgc"])
def test_one_draw_changes_both_sizes_alike(policy):
    """Change, then halve, is halve, then change."""
    large = smooth(64, 128)
    drawn = draw(AugmentConfig(policy=policy), 64, rng(), p=0.85)
    for parameters in drawn.values():
        if "shift" in parameters:  # rounded to pixels, hence different by half a small pixel
            parameters["shift"] = (parameters["shift"] * 64).round() / 64
    change_first = F.avg_pool2d(apply(large, drawn), 2)
    halve_first = apply(F.avg_pool2d(large, 2), drawn)

    def distance(other):
        return (change_first - other).abs().mean(dim=(1, 2, 3))

    assert (distance(halve_first) / distance(halve_first.roll(1, 0))).max() < 0.02


def test_flips_and_quarter_turns_are_exactly_alike_at_both_sizes():
    large = pictures(64, 32, torch.float64)
    drawn = draw(AugmentConfig(policy="bgc"), 64, rng(), p=1.0)["bgc"]
    still = draw(AugmentConfig(policy="bgc"), 64, rng(), p=0.0)["bgc"]
    exact = {"bgc": still | {name: drawn[name] for name in ("flip", "quarters")}}
    small = F.avg_pool2d(large, 2)
    # The mean of four pixels is summed in another order.
    torch.testing.assert_close(
        F.avg_pool2d(apply(large, exact), 2), apply(small, exact), rtol=0, atol=1e-15
    )


@pytest.mark.parametrize("policy", STACKED)
def test_the_same_seed_gives_the_same_draw(policy):
    config = AugmentConfig(policy=policy)
    first, second = draw(config, 8, rng(5), p=0.5), draw(config, 8, rng(5), p=0.5)
    assert first.keys() == second.keys()
    for op in first:
        assert first[op].keys() == second[op].keys()
        assert all(torch.equal(first[op][name], second[op][name]) for name in first[op])


def test_more_strength_moves_pictures_further():
    """The fields of each operation reach it."""
    images = smooth(100, 32)
    for field, policy, weak, strong in [
        ("brightness", "color", 0.1, 1.0),
        ("saturation", "color", 0.0, 1.0),
        ("contrast", "color", 0.0, 1.0),
        ("translation", "translation", 0.05, 0.4),
        ("cutout", "cutout", 0.1, 0.9),
    ]:
        distances = [
            (apply(images, draw(AugmentConfig(policy=policy, **{field: v}), 100, rng(), p=0.0)))
            .sub(images)
            .abs()
            .mean()
            for v in (weak, strong)
        ]
        assert distances[0] < distances[1], field


def test_an_unknown_or_repeated_operation_and_a_start_above_the_bound_are_refused():
    with pytest.raises(ValueError, match=r"separated by commas; unknown: blur\."):
        AugmentConfig(policy="bgc,blur")
    with pytest.raises(ValueError, match="must not name an operation twice"):
        AugmentConfig(policy="bgc,color,bgc")
    with pytest.raises(ValueError, match=r"ada_p must be at most ada_max_p \(got ada_p 0\.9, "):
        AugmentConfig(ada_p=0.9)
