"""MixDL, against slow and obvious versions and numbers worked by hand."""

from __future__ import annotations

import math

import pytest
import tiny
import torch
from steps import draw_turn, take_step
from torch import Tensor

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.models import ARCHITECTURES
from fastgan_ray.search.cost.estimate import gflop_per_image, parameter_counts
from fastgan_ray.search.cost.memory import training_gb
from fastgan_ray.train import mixdl, step, views
from fastgan_ray.train.perceptual import DISTANCES
from fastgan_ray.train.state import new_state
from fastgan_ray.train.summary import summarise_discriminator

CPU = torch.device("cpu")
L1 = DISTANCES["l1"](CPU)
BOTH = {"train.mixdl_g_weight": 10.0, "model.d_mixdl": True, "train.mixdl_interval": 3}
HOSTS = {
    "fastgan": {},
    "dcgan": {"model.dcgan_depth": 3, "model.dcgan_width": 4},
    "sngan": {},
    "stylegan2": {"model.ngf": 1, "model.ndf": 1},
}
# The sides of the maps that are compared, at resolution 32.
SIDES = {
    "fastgan": [8, 16, 32],
    "dcgan": [8, 16],
    "sngan": [8, 16, 32],
    "stylegan2": [4, 8, 16, 32],
}


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int = 4) -> Tensor:
    return torch.rand((count, 3, 32, 32), generator=rng(1)) * 2 - 1


def slow_divergence(mixture: Tensor, samples: Tensor, shares: Tensor) -> float:
    """The divergence of one mixture, number by number."""
    dots = [float((mixture.double() * other.double()).sum()) for other in samples]
    lengths = [float(other.double().square().sum()) ** 0.5 for other in samples]
    length = float(mixture.double().square().sum()) ** 0.5
    cosines = [dot / (length * other) for dot, other in zip(dots, lengths, strict=True)]
    sums = [sum(math.exp(value) for value in row) for row in (cosines, shares.tolist())]
    q = [math.exp(value) / sums[0] for value in cosines]
    p = [math.exp(value) / sums[1] for value in shares.tolist()]
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


class TestDraws:
    def test_shares_are_uniform_on_the_simplex(self):
        shares = torch.cat(
            [mixdl.draw(torch.zeros(5, 2), 3, rng(seed))["shares"] for seed in range(4000)]
        )
        torch.testing.assert_close(shares.sum(dim=1), torch.ones(len(shares)))
        assert shares.min() >= 0
        # A share of Dirichlet(1, ..., 1) with five parts is Beta(1, 4).
        assert shares.mean().item() == pytest.approx(1 / 5, abs=0.001)
        assert shares.var().item() == pytest.approx(4 / (25 * 6), abs=0.001)
        assert (shares > 0.5).double().mean().item() == pytest.approx(0.5**4, abs=0.002)

    def test_a_mixture_by_hand(self):
        latents, shares = torch.tensor([[5.0, 0.0], [0.0, 10.0]]), torch.tensor([[0.6, 0.8]])
        # The shares' length is 1 here, so nothing is rescaled.
        torch.testing.assert_close(mixdl.mixed(latents, shares), torch.tensor([[3.0, 8.0]]))
        halves = mixdl.mixed(latents, torch.tensor([[0.5, 0.5]]))
        torch.testing.assert_close(halves, torch.tensor([[5.0, 10.0]]) / math.sqrt(2))

    def test_mixtures_have_the_distribution_of_latents(self):
        drawn = [mixdl.draw(torch.randn((8, 50), generator=rng(s)), 3, rng(s)) for s in range(200)]
        mixtures = torch.cat([each["latents"] for each in drawn])
        assert mixtures.std().item() == pytest.approx(1, abs=0.01)
        assert mixtures.mean().item() == pytest.approx(0, abs=0.01)
        layers = torch.cat([each["layers"] for each in drawn])
        assert layers.bincount().tolist() == pytest.approx([1600 / 3] * 3, rel=0.15)

    def test_the_other_random_numbers_of_a_training_stay_the_same(self):
        plain, with_mixtures = (
            draw_turn(new_state(settings, 8, CPU), settings)
            for settings in (tiny.config(), tiny.config(**{"train.mixdl_g_weight": 1.0}))
        )
        assert plain.mixtures == {} and set(with_mixtures.mixtures) == {
            *("shares", "latents", "layers")
        }
        assert torch.equal(plain.latents, with_mixtures.latents)
        assert torch.equal(plain.labels, with_mixtures.labels)


class TestDivergence:
    def test_it_is_that_of_the_slow_version(self):
        mixtures, samples = torch.randn((2, 4, 3, 5, 5), generator=rng()).unbind()
        shares = mixdl.draw(torch.zeros(4, 2), 1, rng())["shares"]
        actual = mixdl.divergence(mixtures, samples, shares)
        expected = [slow_divergence(mixtures[m], samples, shares[m]) for m in range(4)]
        assert actual.tolist() == pytest.approx(expected, rel=1e-4)
        assert min(actual.tolist()) > 0

    def test_it_is_0_if_the_similarities_are_the_shares(self):
        samples = torch.eye(2)
        mixture = torch.tensor([[3.0, 4.0]])  # its cosines are .6 and .8
        shares = torch.tensor([[0.4, 0.6]])  # the same difference, so the same softmax
        assert mixdl.divergence(mixture, samples, shares).item() == pytest.approx(0, abs=1e-7)

    def test_a_generator_that_ignores_its_latents_pays(self):
        shares = torch.tensor([[1.0, 0.0]])
        p = math.e / (math.e + 1)
        expected = p * math.log(2 * p) + (1 - p) * math.log(2 * (1 - p))
        same = torch.ones(2, 3)
        assert mixdl.divergence(same[:1], same, shares).item() == pytest.approx(expected)

    def test_only_the_drawn_layer_of_a_mixture_counts(self):
        features = [torch.randn((2, 3, c, 4, 4), generator=rng(c)) for c in (1, 2, 3)]
        mixtures = [each[0].requires_grad_() for each in features]
        samples = [each[1] for each in features]
        drawn = dict(mixdl.draw(torch.zeros(3, 2), 3, rng()))
        drawn["layers"] = torch.tensor([2, 0, 2])
        term = mixdl.generator_term(mixtures, samples, drawn)
        expected = [
            slow_divergence(mixtures[layer][m].detach(), samples[layer], drawn["shares"][m])
            for m, layer in enumerate((2, 0, 2))
        ]
        assert term.item() == pytest.approx(sum(expected) / 3, rel=1e-4)
        term.backward()
        used = [[bool(row.any()) for row in each.grad] for each in mixtures]
        assert used == [[False, True, False], [False] * 3, [True, False, True]]


def made(settings: RunConfig) -> tuple[step.TrainState, views.Views, views.Turn]:
    state = new_state(settings, 8, CPU)
    turn = draw_turn(state, settings)
    return state, views.views_of(state, pictures(), turn, settings, True), turn


class TestSteps:
    @pytest.mark.parametrize("host", ARCHITECTURES)
    def test_the_compared_layers_are_those_of_every_size(self, host):
        settings = tiny.config(**{"model.architecture": host, **HOSTS[host], **BOTH})
        _, seen, turn = made(settings)
        sides = [features.shape[-1] for features in seen.features]
        assert sides == [features.shape[-1] for features in seen.mixed_features] == SIDES[host]
        assert all(features.requires_grad and len(features) == 4 for features in seen.features)
        assert turn.mixtures["layers"].max() < len(sides)
        assert [image.requires_grad for image in seen.mixed] == [False, False]

    def test_g_pays_its_weight_times_the_interval(self):
        settings = tiny.config(**BOTH, **{"model.g_noise": False})
        state, seen, turn = made(settings)
        both = step.generator_loss(state, seen, settings)
        state, seen, turn = made(settings)
        plain = step.generator_loss(state, seen._replace(mixed_features=()), settings)
        expected = [
            slow_divergence(
                seen.mixed_features[layer][m].detach(),
                seen.features[layer].detach(),
                turn.mixtures["shares"][m],
            )
            for m, layer in enumerate(turn.mixtures["layers"].tolist())
        ]
        assert (both - plain).item() == pytest.approx(30 * sum(expected) / 4, rel=1e-3)
        assert sum(expected) > 0

    def test_d_pays_for_its_projections_of_generated_pictures(self):
        settings = tiny.config(**BOTH, **{"train.mixdl_d_weight": 0.5})
        state, seen, turn = made(settings)
        total, parts = step.discriminator_loss(state, seen, turn, False, settings, L1)
        state, seen, turn = made(settings)
        state.discriminator(*seen.real, part=turn.part)  # as the loss does before
        state.discriminator(*seen.fake)
        images = torch.cat([seen.mixed[0], seen.fake[0].detach()])
        both = state.discriminator.project(images).detach()
        expected = [
            slow_divergence(both[m], both[4:], turn.mixtures["shares"][m]) for m in range(4)
        ]
        assert parts["loss/mixdl_d"].item() == pytest.approx(sum(expected) / 4, rel=1e-3)
        rest = parts["loss/d"] + 8 * parts["loss/reconstruction"]
        assert (total - 1.5 * parts["loss/mixdl_d"]).item() == pytest.approx(rest.item(), rel=1e-4)

    def test_it_is_computed_in_every_third_step_only(self):
        settings = tiny.config(**BOTH)
        state = new_state(settings, 8, CPU)
        found = [take_step(state, [pictures()], settings, L1) for _ in range(5)]
        assert ["loss/mixdl_d" in scalars for scalars in found] == [True, False, False, True, False]

    def test_training_on_it_brings_the_similarities_near_to_the_shares(self):
        settings = tiny.config(**BOTH)
        state = new_state(settings, 8, CPU)
        optimizer = torch.optim.Adam(state.generator.parameters(), lr=2e-3)
        values = []
        for _ in range(60):
            turn = draw_turn(state, settings)
            seen = views.views_of(state, pictures(), turn, settings, True)
            term = mixdl.generator_term(seen.mixed_features, seen.features, seen.mixtures)
            optimizer.zero_grad()
            term.backward()
            optimizer.step()
            values.append(term.item())
        assert sum(values[-10:]) < 0.8 * sum(values[:10])

    @pytest.mark.parametrize("changes", [{"train.mixdl_g_weight": 1.0}, {"model.d_mixdl": True}])
    def test_one_picture_cannot_be_mixed(self, changes):
        with pytest.raises(
            ValueError, match=r"batch_size must be at least 2 .* \(got batch_size 1"
        ):
            tiny.config(**changes, **{"train.batch_size": 1})


def test_costs_and_parameters():
    plain, of_g, of_d = (
        tiny.config(**changes)
        for changes in ({}, {"train.mixdl_g_weight": 1.0}, {"model.d_mixdl": True})
    )
    weights = [parameter_counts(each) for each in (plain, of_g, of_d)]
    assert weights[0] == weights[1]
    assert weights[2]["params_g"] == weights[0]["params_g"]
    # The last features have 8 ndf channels; the projection has 128 and no bias.
    assert weights[2]["params_d"] - weights[0]["params_d"] == 8 * 4 * 128
    assert summarise_discriminator(of_d).parameters == weights[2]["params_d"]
    assert training_gb(plain, False) < training_gb(of_g, False) < training_gb(of_d, False)
    once = tiny.config(**{"train.mixdl_g_weight": 1.0, "train.mixdl_interval": 1})
    costs = [gflop_per_image(each) for each in (plain, of_g, once)]
    assert costs[2] - costs[0] == pytest.approx(2 * (costs[1] - costs[0]))
    assert gflop_per_image(of_d) > costs[0]


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"model.self_supervision": "ae_contrastive"}, "compared with the others of its batch"),
        ({"model.architecture": "dcgan", "model.dcgan_depth": 3}, "one value for each picture"),
    ],
)
def test_what_else_needs_two_pictures(changes, rule):
    with pytest.raises(ValueError, match=rf"batch_size must be at least 2 .*{rule}"):
        tiny.config(**changes, **{"train.batch_size": 1})
