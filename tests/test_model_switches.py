"""What each component switch of the networks adds or leaves out."""

from __future__ import annotations

import networks
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from fastgan_ray.models import (
    build_discriminator,
    build_generator,
)
from fastgan_ray.models.blocks import dropout


@pytest.mark.parametrize("source", [4, 8, 16, 32])
def test_switch_g_sle(source: int) -> None:
    channels = {4: 32, 8: 16, 16: 8, 32: 4, 64: 4, 128: 2, 256: 1, 512: 1}  # at ngf 2
    side = 16 * source
    target = channels[side]
    on, off = (
        networks.config(resolution=side),
        networks.config(resolution=side, **{f"g_sle_{source}": False}),
    )
    generator, _ = networks.exercise(off)
    gate = 16 * channels[source] * target + target * target
    assert networks.count(build_generator(on)) - networks.count(generator) == gate


def test_switch_g_sle_4_at_32_px() -> None:
    generator, _ = networks.exercise(networks.config(resolution=32, g_sle_4=False))
    assert len(generator.skips) == 0


def test_switch_g_noise() -> None:
    generator, _ = networks.exercise(networks.config(g_noise=False))
    assert (
        networks.count(build_generator(networks.config())) - networks.count(generator) == 4
    )  # two each at 8 and 32 px
    z = networks.latents(generator.config)
    generator.eval()
    assert torch.equal(generator(z, networks.rng(5))[0], generator(z, networks.rng(6))[0])


def test_switch_output_activation() -> None:
    z = networks.latents(networks.config())
    bounded = build_generator(networks.config())(z)
    plain = build_generator(networks.config(output_activation="none"))(z)
    for ours, raw in zip(bounded, plain, strict=True):
        assert torch.equal(ours, raw.tanh())
        assert not torch.equal(ours, raw)


def test_switch_d_sle() -> None:
    _, off = networks.exercise(networks.config(d_sle=False))
    on = build_discriminator(networks.config())
    assert networks.count(on) - networks.count(off) == networks.count(on.skips) > 0


def test_switch_d_small() -> None:
    _, off = networks.exercise(networks.config(d_small=False, decode_small=False))
    both = build_discriminator(networks.config(decode_small=False))
    assert both.small is not None
    assert both.small_head is not None
    assert networks.count(both) - networks.count(off) == networks.count(
        both.small
    ) + networks.count(both.small_head)


@pytest.mark.parametrize(
    ("field", "value", "name"),
    [
        ("decode_full", False, "full"),
        ("decode_small", False, "small"),
        ("decode_part", "none", "part"),
    ],
)
def test_switch_decoder(field: str, value: object, name: str) -> None:
    _, off = networks.exercise(networks.config(**{field: value}))
    on = build_discriminator(networks.config())
    assert set(on.decoders) - set(off.decoders) == {name}
    assert networks.count(on) - networks.count(off) == networks.count(on.decoders[name])
    assert set(off(*networks.pictures(off.config), part=0)[1]) == {"full", "small", "part"} - {name}


def test_no_decoder_gives_no_reconstruction() -> None:
    _, none = networks.exercise(
        networks.config(decode_full=False, decode_small=False, decode_part="none")
    )
    assert none(*networks.pictures(none.config), part=0)[1] == {}


@pytest.mark.parametrize(
    ("kind", "decodes", "projects"),
    [
        ("ae", True, False),
        ("none", False, False),
        ("contrastive", False, True),
        ("ae_contrastive", True, True),
    ],
)
def test_switch_self_supervision(kind: str, decodes: bool, projects: bool) -> None:
    config = networks.config(self_supervision=kind)
    discriminator = build_discriminator(config)
    assert set(discriminator.decoders) == ({"full", "small", "part"} if decodes else set())
    assert (discriminator.projection is not None) == projects
    assert bool(discriminator(*networks.pictures(config), part=0)[1]) == decodes
    # The arms of an ablation start from the same weights where they have the same layers.
    published = dict(build_discriminator(networks.config()).named_parameters())
    for name, weight in discriminator.named_parameters():
        if name in published:
            assert torch.equal(weight, published[name]), name


def test_embedding_is_the_trunks_projection() -> None:
    discriminator = build_discriminator(networks.config(self_supervision="contrastive"))
    full, _ = networks.pictures(discriminator.config, 3)
    assert discriminator.trunk(full).shape == (3, 16, 8, 8)  # 8 ndf
    assert discriminator.embed(full).shape == (3, 128)
    discriminator.embed(full).square().mean().backward()
    assert discriminator.projection is not None
    networks.assert_all_used(discriminator.projection)
    networks.assert_all_used(discriminator.stem)


def test_trunk_is_what_the_head_judges() -> None:
    discriminator = build_discriminator(networks.config()).eval()
    full, small = networks.pictures(discriminator.config)
    logits, _ = discriminator(full, small)
    judged = discriminator.head(discriminator.trunk(full)).flatten(1)
    assert torch.equal(judged, logits[:, :25])


def test_without_decoders_the_small_branch_may_be_off() -> None:
    networks.config(d_small=False, self_supervision="none")
    with pytest.raises(ValidationError, match="decode_small must be false if d_small is false"):
        networks.config(d_small=False)


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_dropout_zeroes_its_share_and_keeps_the_mean(rate: float) -> None:
    x = torch.ones(100, 100)
    state = torch.get_rng_state()
    dropped = dropout(x, rate, networks.rng())
    assert torch.equal(torch.get_rng_state(), state)
    assert (dropped == 0).float().mean().item() == pytest.approx(rate, abs=0.015)
    assert torch.equal(dropped.unique(), torch.tensor([0.0, 1 / (1 - rate)]))
    assert torch.equal(dropout(x, rate, networks.rng()), dropped)
    assert dropout(x.bfloat16(), rate, networks.rng()).dtype == torch.bfloat16


def test_dropout_off() -> None:
    x = torch.ones(4)
    assert dropout(x, 0.0, networks.rng()) is x
    assert dropout(x, 0.5, None) is x


def test_dropout_stands_before_the_logits_only() -> None:
    discriminator = build_discriminator(networks.config(d_dropout=0.5)).eval()
    pictures = networks.pictures(discriminator.config)
    logits, decoded = discriminator(*pictures, part=0)
    again, decoded_again = discriminator(*pictures, part=0, rng=networks.rng())
    other, _ = discriminator(*pictures, part=0, rng=networks.rng(1))
    assert all(torch.equal(decoded[name], decoded_again[name]) for name in decoded)
    for branch in (slice(0, 25), slice(25, 50)):
        assert not torch.equal(logits[:, branch], again[:, branch])
        assert not torch.equal(other[:, branch], again[:, branch])


def test_switch_spectral_norm() -> None:
    generator, discriminator = networks.exercise(networks.config(spectral_norm=False))
    plain = [
        m for m in (*generator.modules(), *discriminator.modules()) if isinstance(m, nn.Conv2d)
    ]
    assert not any(nn.utils.parametrize.is_parametrized(layer) for layer in plain)
    normal = build_generator(networks.config())
    assert networks.count(normal) == networks.count(generator)
    layers = [m for m in normal.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert len(layers) == 11
    for layer in layers:
        rows = (
            layer.weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else layer.weight
        )
        assert torch.linalg.matrix_norm(rows.flatten(1), 2).item() == pytest.approx(1, abs=0.1)
