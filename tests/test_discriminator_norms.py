"""The normalisation layers of D, and CHAIN against its formula."""

from __future__ import annotations

import math

import pytest
import tiny
import torch
from steps import take_step
from torch import Tensor, nn

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.models import build_discriminator
from fastgan_ray.models.discriminator_norms import Chain, ChainControl, Shift, plain_norm
from fastgan_ray.train.perceptual import DISTANCES
from fastgan_ray.train.state import new_state

CPU = torch.device("cpu")
L1 = DISTANCES["l1"](CPU)


def features(seed: int = 0, channels: int = 3) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    scales = torch.arange(1, channels + 1)[:, None, None]
    return torch.randn((4, channels, 5, 5), generator=rng) * scales + 0.5


def control(p: float) -> ChainControl:
    made = ChainControl()
    made.p.fill_(p)
    return made


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_normalised_channel_is_divided_by_its_root_mean_square_and_times_the_smallest():
    chain, x = control(1.0), features()
    with chain.drawing(drawn()):
        y = Chain(3, chain)(x)
    roots = [math.sqrt(float((x[:, channel] ** 2).mean())) for channel in range(3)]
    for channel in range(3):
        expected = x[:, channel] / math.sqrt(roots[channel] ** 2 + 1e-5) * min(roots)
        torch.testing.assert_close(y[:, channel], expected)


def test_each_channel_of_each_sample_is_normalised_with_probability_p():
    x = torch.randn((200, 50, 2, 2), generator=drawn(1)) * torch.linspace(1, 9, 50)[:, None, None]
    chain = control(0.3)
    with chain.drawing(drawn()):
        changed = (Chain(50, chain)(x) != x).flatten(2).any(dim=2)
    assert changed[:, 1:].double().mean().item() == pytest.approx(0.3, abs=0.02)


def test_without_a_generator_a_layer_mixes_by_the_share_p():
    whole, none, half = (Chain(3, control(p))(features()) for p in (1.0, 0.0, 0.5))
    assert torch.equal(none, features())
    torch.testing.assert_close(half, (whole + none) / 2)


def test_no_feature_grows():
    """The factor of a channel is at most 1: the smallest root mean square over its own."""
    x = features()
    with torch.no_grad():
        y = Chain(3, control(1.0))(x)
    assert (y.abs() <= x.abs() + 1e-6).all()


def test_the_smallest_root_mean_square_has_no_gradient():
    x = features().requires_grad_()
    Chain(3, control(1.0))(x).sum().backward()
    slow = features().requires_grad_()
    squares = slow.square().mean(dim=(0, 2, 3), keepdim=True)
    factor = float(squares.min().sqrt().detach())
    (slow / (squares + 1e-5).sqrt() * factor).sum().backward()
    torch.testing.assert_close(x.grad, slow.grad)


def test_the_penalty_is_the_sum_of_the_squared_means_of_the_channels():
    chain, x = control(0.4), features()
    layer = Chain(3, chain)
    layer(x)
    with chain.collecting() as penalties:
        layer(x)
        layer(2 * x)
    means = [float(x[:, channel].mean()) for channel in range(3)]
    squares = sum(mean**2 for mean in means)
    assert [float(value) for value in penalties] == pytest.approx([squares, 4 * squares], rel=1e-5)
    assert float(chain.penalty(penalties, 0.1)) == pytest.approx(0.5 * 5 * squares, rel=1e-5)


def test_p_follows_the_average_sign_after_the_first_steps():
    chain, average, p = ChainControl(), 0.0, 0.0
    for step, sign in enumerate([1.0, 1.0, -1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, -1.0], 1):
        chain.adapt(torch.tensor(sign), target=0.3, first_step=3)
        average = 0.9 * average + 0.1 * sign
        if step > 3:
            p = min(1, max(0, p + 0.001 * math.copysign(1, average - 0.3)))
        assert float(chain.p) == pytest.approx(p, abs=1e-7)
        assert float(chain.sign) == pytest.approx(average, rel=1e-5)
    assert float(chain.p) > 0


def test_a_step_adapts_p_and_pays_the_penalty():
    settings = tiny.config(
        **{
            **{"model.d_norm": "chain", "train.chain_start_kimg": 0.004},
            **{"train.chain_target": -1.0, "train.chain_min_p": 0.1},
        }
    )
    state = new_state(settings, 8, CPU)
    batch = torch.rand((4, 3, 32, 32), generator=drawn()) * 2 - 1
    values = []
    for _ in range(3):
        losses = take_step(state, [batch], settings, L1)
        values.append(float(state.discriminator.chain.p))
        assert float(losses["loss/chain"]) > 0
    assert values == pytest.approx([0, 0.001, 0.002])


def norms_of(kind: str, architecture: str = "fastgan") -> list[nn.Module]:
    """The layers of D's normalisation, without those of the decoders."""
    changes = {"model.architecture": architecture, "model.self_supervision": "none"}
    if architecture == "dcgan":
        changes |= {"model.dcgan_depth": 3, "model.dcgan_width": 4}
    network = build_discriminator(tiny.config(**{**changes, "model.d_norm": kind}).model)
    kinds = (nn.BatchNorm2d, nn.InstanceNorm2d, nn.GroupNorm, Shift, Chain)
    return [module for module in network.modules() if isinstance(module, kinds)]


@pytest.mark.parametrize("architecture", ["fastgan", "dcgan"])
def test_the_setting_chooses_the_layer(architecture):
    expected = {
        "batch": nn.BatchNorm2d,
        "instance": nn.InstanceNorm2d,
        "group": nn.GroupNorm,
        "none": Shift,
        **({"chain": Chain} if architecture == "fastgan" else {}),
    }
    counts = set()
    for kind, layer in expected.items():
        found = norms_of(kind, architecture)
        assert {type(module) for module in found} == {layer}
        counts.add(len(found))
    assert len(counts) == 1


def test_group_normalisation_has_groups_that_divide_the_channels():
    assert [plain_norm("group", channels).num_groups for channels in (1, 6, 48, 64, 96)] == [
        *(1, 2, 16, 32, 32)
    ]


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"model.architecture": "sngan"}, "d_norm can be chain only if architecture is fastgan"),
        ({"model.discriminator": "projected"}, "discriminator is architecture"),
        ({"train.gradient_checkpointing": True}, "must be false if model.d_norm is chain"),
    ],
)
def test_chain_where_it_has_no_meaning(changes, rule):
    with pytest.raises(ValueError, match=rule):
        tiny.config(**{"model.d_norm": "chain", **changes})


@pytest.mark.parametrize(("old", "new"), [(True, "batch"), (False, "none")])
def test_the_older_name_of_the_setting_is_still_read(old, new):
    assert RunConfig.model_validate({"model": {"d_batch_norm": old}}).model.d_norm == new
