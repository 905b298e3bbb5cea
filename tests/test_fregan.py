"""FreGAN's wavelets, skips, judged frequencies and alignment, against slow and obvious versions."""

from __future__ import annotations

import itertools
import math
import re

import pytest
import tiny
import torch
import torch.nn.functional as F
from steps import draw_turn, take_step
from torch import Tensor

from fastgan_ray.models import build_discriminator, build_generator
from fastgan_ray.models.generator import wavelet_sources
from fastgan_ray.models.wavelets import details, high_frequencies, matched
from fastgan_ray.search.cost.estimate import gflop_per_image, parameter_counts
from fastgan_ray.search.cost.memory import training_gb
from fastgan_ray.train import alignment, step, views
from fastgan_ray.train.perceptual import DISTANCES
from fastgan_ray.train.state import new_state
from fastgan_ray.train.summary import summarise_discriminator, summarise_generator
from fastgan_ray.tune.trial.timing import cost_class

CPU = torch.device("cpu")
L1 = DISTANCES["l1"](CPU)
# The kernels of the bands LL, LH, HL, HH.
KERNELS = [
    [[0.5, 0.5], [0.5, 0.5]],
    [[-0.5, 0.5], [-0.5, 0.5]],
    [[-0.5, -0.5], [0.5, 0.5]],
    [[0.5, -0.5], [-0.5, 0.5]],
]
SKIPS = {"model.g_wavelet_skips": True}
JUDGED = {"model.d_high_frequency": True}
ALIGNED = {"train.alignment_weight": 0.7}
ALL = {**SKIPS, **JUDGED, **ALIGNED}


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def maps(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=rng(seed), dtype=torch.float64)


def pictures(side: int = 32) -> Tensor:
    return torch.rand((4, 3, side, side), generator=rng(1)) * 2 - 1


def slow_bands(x: Tensor) -> list[Tensor]:
    """The bands of maps, number by number."""
    values = x.tolist()
    return [
        torch.tensor(
            [
                [
                    [
                        [
                            sum(
                                kernel[i][j] * one[2 * row + i][2 * column + j]
                                for i in range(2)
                                for j in range(2)
                            )
                            for column in range(x.shape[3] // 2)
                        ]
                        for row in range(x.shape[2] // 2)
                    ]
                    for one in channels
                ]
                for channels in values
            ],
            dtype=torch.float64,
        )
        for kernel in KERNELS
    ]


def slow_inverse(bands: list[Tensor]) -> Tensor:
    """The maps of which these are the bands, number by number."""
    count, channels, height, width = bands[0].shape
    found = torch.zeros(count, channels, 2 * height, 2 * width).double()
    values = [band.tolist() for band in bands]
    for sample, channel, row, column in itertools.product(*map(range, found.shape)):
        found[sample, channel, row, column] = sum(
            kernel[row % 2][column % 2] * band[sample][channel][row // 2][column // 2]
            for band, kernel in zip(values, KERNELS, strict=True)
        )
    return found


def slow_high(x: Tensor) -> Tensor:
    return sum(slow_bands(x)[1:])


def slow_l1(first: Tensor, second: Tensor) -> float:
    """The mean absolute difference of two maps' high frequencies, number by number."""
    ours, theirs = slow_high(first), slow_high(second)
    channels = max(ours.shape[1], theirs.shape[1])
    differences = [
        abs(one[channel % len(one)][row][column] - other[channel % len(other)][row][column])
        for one, other in zip(ours.tolist(), theirs.tolist(), strict=True)
        for channel in range(channels)
        for row in range(ours.shape[2])
        for column in range(ours.shape[3])
    ]
    return sum(differences) / len(differences)


class TestWavelets:
    def test_the_slow_inverse_reconstructs_and_the_length_stays(self):
        x = maps(2, 3, 8, 12)
        bands = slow_bands(x)
        torch.testing.assert_close(slow_inverse(list(bands)), x)
        assert sum(band.square().sum() for band in bands) == pytest.approx(x.square().sum())

    def test_the_short_forms_are_sums_of_the_bands(self):
        for x in (maps(2, 3, 4, 6), maps(2, 3, 8, 12, seed=1)):
            ll, *high = slow_bands(x)
            torch.testing.assert_close(high_frequencies(x), slow_high(x))
            torch.testing.assert_close(details(x), slow_inverse([torch.zeros_like(ll), *high]))

    def test_a_constant_map_has_no_high_frequencies(self):
        x = torch.full((1, 1, 4, 4), 3.0)
        assert slow_bands(x)[0].eq(6).all()
        assert not high_frequencies(x).any() and not details(x).any()

    def test_a_square_by_hand(self):
        x = torch.tensor([[[[1.0, 2.0], [4.0, 8.0]]]])
        assert [band.item() for band in slow_bands(x)] == [7.5, 2.5, 4.5, 1.5]
        assert high_frequencies(x).item() == 8.5
        assert details(x).flatten().tolist() == [-2.75, -1.75, 0.25, 4.25]

    def test_short_forms_keep_channels_last_and_have_second_derivatives(self):
        x = maps(2, 3, 4, 4).contiguous(memory_format=torch.channels_last).requires_grad_()
        assert details(x).is_contiguous(memory_format=torch.channels_last)
        assert matched(x, 6).is_contiguous(memory_format=torch.channels_last)
        for transform in (high_frequencies, details, lambda x: matched(x, 5)):
            assert torch.autograd.gradgradcheck(lambda x: transform(x).pow(3), (x,))  # noqa: B023

    def test_channels_are_repeated_or_left_out(self):
        x = torch.arange(3.0).view(1, 3, 1, 1)
        assert matched(x, 3) is x
        for count, expected in {2: [0, 1], 4: [0, 1, 2, 0], 6: [0, 1, 2, 0, 1, 2]}.items():
            assert matched(x, count).flatten().tolist() == expected


class TestSkipsInG:
    @pytest.mark.parametrize(
        ("resolution", "sources"),
        [(32, {32: 8}), (64, {32: 8, 64: 16}), (128, {32: 8, 64: 16, 128: 32})],
    )
    def test_a_resolution_has_those_for_which_it_has_blocks(self, resolution, sources):
        settings = tiny.config(**SKIPS, **{"model.resolution": resolution}).model
        assert wavelet_sources(settings) == sources
        skips = build_generator(settings).wavelet_skips
        assert {int(name): layer.weight.shape[:2] for name, layer in skips.items()} == {
            target: tuple(generator_widths(settings)[side] for side in (target // 2, source))
            for target, source in sources.items()
        }

    def test_the_blocks_see_what_the_slow_version_adds(self):
        settings = tiny.config(**SKIPS, **{"model.resolution": 64}).model
        generator = build_generator(settings, rng()).double().eval()
        inputs, outputs = {}, {}
        for name, block in generator.blocks.items():
            block.register_forward_pre_hook(lambda _, x, name=name: inputs.update({name: x[0]}))
            block.register_forward_hook(lambda _, x, y, name=name: outputs.update({name: y}))
        generator(maps(2, settings.nz))
        for target, half, source in ((32, 16, 8), (64, 32, 16)):
            bands = slow_bands(outputs[str(source)].detach())
            high = slow_inverse([torch.zeros_like(bands[0]), *bands[1:]])
            weight = generator.wavelet_skips[str(target)].weight.detach()
            added = torch.einsum("oi,bihw->bohw", weight[:, :, 0, 0], high)
            doubled = added.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
            expected = outputs[str(half)] + doubled
            torch.testing.assert_close(inputs[str(target)], expected, rtol=1e-6, atol=1e-9)
            assert doubled.abs().max() > 1e-3
        assert torch.equal(inputs["16"], outputs["8"])

    def test_the_other_weights_stay_the_same(self):
        plain, with_skips = (
            build_generator(tiny.config(**changes).model, rng()).state_dict()
            for changes in ({}, SKIPS)
        )
        added = {name for name in with_skips if name not in plain}
        assert added and all(name.startswith("wavelet_skips.32.") for name in added)
        assert all(torch.equal(value, with_skips[name]) for name, value in plain.items())


def generator_widths(model) -> dict[int, int]:
    return {4: 16 * model.ngf, **{s: w * model.ngf for s, w in SHARES.items()}}


SHARES = {8: 8, 16: 4, 32: 2, 64: 2, 128: 1}


class TestJudgedFrequencies:
    @pytest.mark.parametrize(
        ("resolution", "sides"), [(32, (32, 16)), (64, (64, 32, 16)), (256, (64, 32, 16))]
    )
    def test_every_size_has_25_logits(self, resolution, sides):
        changes = {**JUDGED, "model.resolution": resolution, "model.ndf": 2}
        settings = tiny.config(**changes).model
        assert settings.judged_sides == sides
        discriminator = build_discriminator(settings, rng())
        images = pictures(resolution)[:2]
        logits, _ = discriminator(images, F.interpolate(images, size=min(128, resolution // 2)))
        assert logits.shape == (2, 50 + 25 * len(sides)) == (2, settings.logits)

    @pytest.mark.parametrize("channels", [None, [7, 5, 9, 3]])
    def test_they_are_judged_by_the_later_blocks(self, channels):
        settings = tiny.config(
            **JUDGED, **{"model.resolution": 64, "model.d_channels": channels}
        ).model
        discriminator = build_discriminator(settings, rng()).eval()
        images = pictures(64)
        logits, _ = discriminator(images, F.interpolate(images, size=32))
        plain = build_discriminator(settings.model_copy(update={"d_high_frequency": False}), rng())
        assert plain.state_dict().keys() == discriminator.state_dict().keys()
        plain.load_state_dict(discriminator.state_dict())
        expected, _ = plain.eval()(images, F.interpolate(images, size=32))
        torch.testing.assert_close(logits[:, :50], expected)
        features = plain._features(images)
        assert [x.shape[-1] for x in features] == [64, 32, 16, 8]
        found = []
        for index in range(3):
            bands = slow_bands(features[index].detach())
            high, width = sum(bands[1:]).float(), features[index + 1].shape[1]
            x = torch.stack([high[:, n % high.shape[1]] for n in range(width)], dim=1)
            for block in plain.blocks[index + 1 :]:
                x = block(x)
            found.append(plain.head(x).flatten(1))
        torch.testing.assert_close(logits[:, 50:], torch.cat(found, 1), rtol=1e-4, atol=1e-5)

    def test_there_are_no_new_weights(self):
        plain, judged = (tiny.config(**changes) for changes in ({}, JUDGED))
        assert parameter_counts(plain) == parameter_counts(judged)
        states = [build_discriminator(each.model, rng()).state_dict() for each in (plain, judged)]
        assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


class TestAlignment:
    @pytest.mark.parametrize("widths", [(3, 3), (2, 4), (4, 2), (3, 5)])
    def test_the_distance_is_that_of_the_slow_version(self, widths):
        generated = [maps(2, widths[0], side, side, seed=side) for side in (4, 8)]
        real = [maps(2, widths[1], side, side, seed=side + 1) for side in (4, 8)]
        expected = sum(slow_l1(*pair) for pair in zip(generated, real, strict=True))
        assert alignment.distance(generated, real).item() == pytest.approx(expected)

    def test_by_hand(self):
        square = torch.tensor([[[[1.0, 2.0], [4.0, 8.0]]]])  # its high frequencies are 8.5
        other = torch.tensor([[[[0.0, 0.0], [0.0, 2.0]]]])  # 3 d / 2 = 3
        value = alignment.distance([square, square], [other, torch.zeros_like(other)])
        assert value.item() == pytest.approx(5.5 + 8.5)

    def test_only_generated_maps_get_a_gradient(self):
        generated, real = (maps(1, 2, 4, 4, seed=s).requires_grad_() for s in (1, 2))
        alignment.distance([generated], [real]).backward()
        assert generated.grad is not None and generated.grad.any() and real.grad is None

    @pytest.mark.parametrize("resolution", [32, 64])
    def test_g_pays_for_the_real_maps_of_ds_turn(self, resolution):
        changes = {**ALIGNED, "model.resolution": resolution, "model.ngf": 3}
        settings = tiny.config(**changes, **{"model.spectral_norm": False})
        state = new_state(settings, 8, CPU)
        turn = draw_turn(state, settings)
        with state.discriminator.keeping_maps(True) as real_maps:
            seen = views.views_of(state, pictures(resolution), turn, settings, True)
            step.discriminator_loss(state, seen, turn, False, settings, L1)
        sides = [8, 16, 32]
        assert [x.shape[-1] for x in real_maps] == sides
        assert [x.shape[-1] for x in seen.features[:3]] == sides
        assert not any(x.requires_grad for x in real_maps)
        both = step.generator_loss(state, seen, settings, real_maps)
        zero = settings.train.model_copy(update={"alignment_weight": 0.0})
        plain = step.generator_loss(state, seen, settings.model_copy(update={"train": zero}))
        expected = sum(slow_l1(*pair) for pair in zip(seen.features[:3], real_maps, strict=True))
        assert (both - plain).item() == pytest.approx(0.7 * expected, rel=1e-4)

    def test_the_kept_maps_are_those_of_the_real_pictures(self):
        settings = tiny.config(**ALIGNED, **{"augment.policy": "", "model.spectral_norm": False})
        state = new_state(settings, 8, CPU)
        turn = draw_turn(state, settings)
        seen = views.views_of(state, pictures(), turn, settings, True)
        with state.discriminator.keeping_maps(True) as kept:
            step.discriminator_loss(state, seen, turn, False, settings, L1)
        features = state.discriminator._features(pictures())
        for actual, expected in zip(kept, features[:-4:-1], strict=True):
            torch.testing.assert_close(actual, expected)
        with state.discriminator.keeping_maps(False) as kept:
            state.discriminator(*seen.real)
        assert kept == []

    def test_training_on_it_brings_the_maps_nearer(self):
        settings = tiny.config(**ALIGNED, **{"augment.policy": ""})
        state = new_state(settings, 8, CPU)
        optimizer = torch.optim.Adam(state.generator.parameters(), lr=2e-3)
        values = []
        for _ in range(40):
            turn = draw_turn(state, settings)
            with state.discriminator.keeping_maps(True) as real_maps:
                seen = views.views_of(state, pictures(), turn, settings, True)
                state.discriminator(*seen.real)
            term = alignment.distance(seen.features[:3], real_maps)
            optimizer.zero_grad()
            term.backward()
            optimizer.step()
            values.append(term.item())
        assert sum(values[-10:]) < 0.9 * sum(values[:10])


class TestSteps:
    @pytest.mark.parametrize("changes", [SKIPS, JUDGED, ALIGNED, ALL])
    def test_each_part_changes_a_step_that_stays_finite(self, changes):
        results = []
        for part in ({}, changes):
            settings = tiny.config(**part, **{"augment.policy": ""})
            state = new_state(settings, 8, CPU)
            results.append(take_step(state, [pictures()], settings, L1))
        assert results[0].keys() == results[1].keys()
        assert all(math.isfinite(float(value)) for value in results[1].values())
        assert float(results[0]["loss/g"]) != float(results[1]["loss/g"])

    def test_mixdl_in_d_alone_does_not_reach_g(self):
        """Features that are recorded for the alignment are not taken for MixDL's."""
        settings = tiny.config(**ALIGNED, **{"model.d_mixdl": True, "train.mixdl_interval": 1})
        state = new_state(settings, 8, CPU)
        seen = views.views_of(state, pictures(), draw_turn(state, settings), settings, True)
        assert len(seen.features) == 3 and not seen.mixed_features and seen.mixtures

    def test_nothing_is_kept_if_it_is_off(self):
        settings = tiny.config()
        state = new_state(settings, 8, CPU)
        seen = views.views_of(state, pictures(), draw_turn(state, settings), settings, True)
        assert not seen.features
        assert state.discriminator._kept_maps is None


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        (
            {**SKIPS, "model.architecture": "sngan"},
            "g_wavelet_skips can be true only if architecture is fastgan, because it connects "
            "blocks of fastgan's generator (got architecture sngan)",
        ),
        (
            {**JUDGED, "model.architecture": "stylegan2"},
            "d_high_frequency can be true only if architecture is fastgan and discriminator is "
            "architecture, because the later blocks of fastgan's discriminator judge the high "
            "frequencies (got architecture stylegan2, discriminator architecture)",
        ),
        (
            {**JUDGED, "model.discriminator": "projected"},
            "(got architecture fastgan, discriminator projected)",
        ),
        (
            {**ALIGNED, "model.discriminator": "projected"},
            "alignment_weight must be 0 unless model.architecture is fastgan and "
            "model.discriminator is architecture, because FreGAN compares the feature maps of "
            "fastgan's two networks (got alignment_weight 0.7, architecture fastgan, "
            "discriminator projected)",
        ),
        (
            {
                "train.alignment_weight": {
                    **{"from": 0.0, "to": 1.0, "over_kimg": 1.0, "shape": "linear"}
                },
                "model.architecture": "dcgan",
                "model.dcgan_depth": 3,
            },
            "alignment_weight must be 0 unless",
        ),
    ],
)
def test_combinations_without_meaning_are_refused(changes, rule):
    with pytest.raises(ValueError, match=re.escape(rule)):
        tiny.config(**changes)


def test_costs_and_parameters():
    wide = {"model.resolution": 64, "eval.extractor": "none"}
    plain, skips, judged, aligned = (
        tiny.config(**changes, **wide) for changes in ({}, SKIPS, JUDGED, ALIGNED)
    )
    weights = [parameter_counts(each) for each in (plain, skips, judged, aligned)]
    assert weights[0] == weights[2] == weights[3]
    # From 8 ngf to 4 ngf channels, and from 4 ngf to 2 ngf.
    assert weights[1]["params_g"] - weights[0]["params_g"] == (8 * 4 + 4 * 2) * 4**2
    assert summarise_generator(skips).parameters == weights[1]["params_g"]
    assert summarise_discriminator(judged).parameters == weights[2]["params_d"]
    costs = [gflop_per_image(each) for each in (plain, skips, judged, aligned)]
    assert costs[0] == costs[3] < min(costs[1:3])
    memory = [training_gb(each, False) for each in (plain, skips, judged)]
    assert memory[0] < min(memory[1:])
    assert cost_class(plain) != cost_class(aligned)
