"""What a step draws: all of it at once, the same on every device and in every process."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tiny
import torch
from torch import Tensor

from fastgan_ray.augment import pipeline
from fastgan_ray.config.augment import AugmentConfig
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.distributed import Group
from fastgan_ray.models import build_discriminator, crop_part, small_resolution
from fastgan_ray.train.batches import Pictures
from fastgan_ray.train.draws import Draws, _each, draw_step, ema_share, to_device
from fastgan_ray.train.state import new_state, update_ema

CPU = torch.device("cpu")
EVERYTHING = {
    "augment.policy": "color,translation,cutout,bgc,keras",
    "model.self_supervision": "ae_contrastive",
    "train.loss": "wasserstein",
    "train.d_steps": 2,
    "train.ema_rampup": 0.5,
}


def tensors(draws: Draws) -> list[Tensor]:
    found: list[Tensor] = []
    _each(draws, lambda tensor: found.append(tensor) or tensor)
    return found


def drawn(settings: RunConfig, group: Group | None = None) -> Draws:
    state = new_state(settings, 8, CPU)
    if group is not None:
        state.group = group
    return draw_step(state, settings)


@pytest.mark.parametrize("changes", [{}, EVERYTHING], ids=["default", "everything"])
def test_placed_draws_are_the_drawn_ones_in_one_piece_of_memory(changes: dict[str, Any]) -> None:
    draws = drawn(tiny.config(**changes))
    before, after = tensors(draws), tensors(to_device(draws, CPU))
    assert len(before) == len(after) > 10
    for one, other in zip(before, after, strict=True):
        assert one.dtype == other.dtype and torch.equal(one, other)
        assert other.data_ptr() % 16 == 0 or not other.numel()
    assert len({tensor.untyped_storage().data_ptr() for tensor in after}) == 1


def test_two_steps_differ_in_everything_but_the_fixed_numbers_and_agree_in_shape() -> None:
    settings = tiny.config(**EVERYTHING)
    state = new_state(settings, 8, CPU)
    first, second = (tensors(draw_step(state, settings)) for _ in range(2))
    assert [t.shape for t in first] == [t.shape for t in second]
    random = [pair for pair in zip(first, second, strict=True) if len(pair[0].unique()) > 4]
    assert len(random) > 20 and not any(torch.equal(*pair) for pair in random)


def test_a_group_takes_its_rows() -> None:
    class Half(Group):
        size = 2

        def __init__(self, rank: int) -> None:
            self.rank = rank

    settings = tiny.config(**EVERYTHING)
    whole, first, second = (tensors(drawn(settings, group)) for group in (None, Half(0), Half(1)))
    for together, *halves in zip(whole, first, second, strict=True):
        if together.shape == halves[0].shape:  # one for all samples
            assert torch.equal(together, halves[0]) and torch.equal(together, halves[1])
        else:
            assert halves[0].shape == halves[1].shape
            dim = next(i for i, n in enumerate(together.shape) if n != halves[0].shape[i])
            assert torch.equal(torch.cat(halves, dim), together)


def test_logits_of_the_configuration_are_ds() -> None:
    small = {"model.dcgan_depth": 3, "model.dcgan_width": 4}
    for changes in (
        {},
        {"model.d_small": False, "model.decode_small": False},
        {"model.architecture": "dcgan", **small},
        {"model.architecture": "sngan"},
        {"model.architecture": "stylegan2"},
    ):
        model = tiny.config(**changes).model
        full, low = (torch.zeros(2, 3, side, side) for side in (32, small_resolution(32)))
        assert build_discriminator(model)(full, low)[0].shape == (2, model.logits)


def test_a_part_that_is_a_tensor_is_the_same_quadrant() -> None:
    x = torch.randn(2, 3, 16, 16)
    for part in range(4):
        assert torch.equal(crop_part(x, torch.tensor(part)), crop_part(x, part))


@pytest.mark.parametrize("share", [0.001, 0.3, 1.0])
def test_a_share_on_the_device_moves_the_average_as_a_number_does(share: float) -> None:
    settings = tiny.config()
    first, second = (new_state(settings, 8, CPU) for _ in range(2))
    for state, given in ((first, share), (second, torch.tensor(share))):
        for weight in state.generator.parameters():
            weight.data.add_(0.5)
        update_ema(state, given)
    for one, other in zip(first.ema.parameters(), second.ema.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)


def test_the_share_of_a_ramp_up_grows_to_the_halflifes() -> None:
    settings = tiny.config(**{"train.ema_halflife_kimg": 0.1, "train.ema_rampup": 0.5})
    shares = [ema_share(settings, step) for step in (1, 2, 10, 1000)]
    assert shares[0] == 1 - 0.5 ** (4 / 2) and shares[1] == 1 - 0.5 ** (4 / 4)
    assert shares[3] == 1 - 0.5 ** (4 / 100) < shares[2]
    assert ema_share(tiny.config(**{"train.ema_halflife_kimg": 0.0}), 5) == 1


def test_pictures_come_mirrored_and_scaled_from_the_host_and_from_a_device() -> None:
    images = np.random.default_rng(0).integers(0, 255, (5, 8, 8, 3), dtype=np.uint8)
    indices, mirrored = torch.tensor([4, 0, 4]), torch.tensor([True, False, False])
    host, device = Pictures(images, CPU), Pictures(images, CPU)
    device._stored = torch.from_numpy(images)
    batches = [store.batch(indices, indices, mirrored) for store in (host, device)]
    assert torch.equal(*batches) and batches[0].dtype == torch.float32
    expected = torch.from_numpy(images[[4, 0, 4]]).permute(0, 3, 1, 2).float() / 127.5 - 1
    expected[0] = expected[0].flip(2)
    assert torch.equal(batches[0], expected)


def slow_translation(images: Tensor, values: pipeline.Parameters) -> Tensor:
    """A picture at a time, by padding."""
    side = images.shape[-1]
    limit = int(side * float(values["limit"]) + 0.5)
    moved = []
    for image, where in zip(images, values["where"].tolist(), strict=True):
        y, x = (int(share * (2 * limit + 1)) - limit for share in where)
        moved.append(torch.nn.functional.pad(image, (x, -x, y, -y)))
    return torch.stack(moved)


@pytest.mark.parametrize("side", [8, 32])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_translation_is_padding_a_picture_at_a_time(side: int, layout: torch.memory_format) -> None:
    rng = torch.Generator().manual_seed(0)
    config = AugmentConfig(policy="translation", translation=0.4, probability=0.8)
    values = pipeline.draw(config, 64, rng)
    images = torch.randn(64, 3, side, side, generator=rng).to(memory_format=layout)
    slope = torch.randn(64, 3, side, side, generator=rng)
    results = []
    for move in (pipeline.apply, lambda x, drawn: slow_translation(x, drawn["translation"])):
        leaf = images.clone().requires_grad_()
        moved = move(leaf, values)
        results.append((moved, *torch.autograd.grad(moved, leaf, slope)))
    for ours, slow in zip(*results, strict=True):
        assert torch.equal(ours, slow)
