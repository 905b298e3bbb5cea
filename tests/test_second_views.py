"""APA, ANDA, bCR, zCR, top-k and instance noise, against slow and obvious versions."""

from __future__ import annotations

import pytest
import tiny
import torch
import torch.nn.functional as F
from steps import draw_turn
from torch import Tensor

from fastgan_ray import AdaptiveAugment, DiffAugment
from fastgan_ray.augment import diffusion, mixing
from fastgan_ray.config.augment import TRAINING_OPS
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.errors import UserError
from fastgan_ray.train import consistency, losses, step, views
from fastgan_ray.train.losses import LOSSES
from fastgan_ray.train.perceptual import DISTANCES
from fastgan_ray.train.state import new_state

CPU = torch.device("cpu")
L1 = DISTANCES["l1"](CPU)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int = 4, seed: int = 1, side: int = 32) -> Tensor:
    return torch.rand((count, 3, side, side), generator=rng(seed)) * 2 - 1


def made(settings: RunConfig, with_graph: bool = False) -> tuple[step.TrainState, views.Views]:
    """A state, and the pictures of its first turn from four real ones."""
    state = new_state(settings, 8, CPU)
    turn = draw_turn(state, settings)
    return state, views.views_of(state, pictures(), turn, settings, with_graph)


class TestMixing:
    def test_a_picture_is_chosen_with_probability_p(self):
        drawn = mixing.draw(10_000, rng())
        for p in (0.0, 0.3, 1.0):
            share = mixing.gate(drawn, p)["chosen"].double().mean().item()
            assert share == pytest.approx(p, abs=0.02)

    def test_apa_replaces_the_chosen_real_pictures_by_generated_ones(self):
        real, fake = pictures(seed=1), pictures(seed=2).requires_grad_()
        mixed = mixing.pseudo_real(real, fake, torch.tensor([True, False, False, True]))
        expected = [fake[0].detach(), real[1], real[2], fake[3].detach()]
        assert torch.equal(mixed, torch.stack(expected))
        assert not mixed.requires_grad

    def test_anda_adds_a_fifth_of_a_real_picture_at_both_sizes(self):
        real, fake = pictures(seed=1), pictures(seed=2)
        small = pictures(seed=3, side=16)
        chosen = torch.tensor([False, True, True, False])
        full, half = mixing.augmented_negatives([fake, small], real, chosen)
        torch.testing.assert_close(full[1], 0.8 * fake[1] + 0.2 * real[1])
        torch.testing.assert_close(half[2], 0.8 * small[2] + 0.2 * real[2, :, ::2, ::2])
        assert torch.equal(full[0], fake[0]) and torch.equal(half[3], small[3])

    def test_in_a_step_apa_changes_what_d_sees_as_real_and_anda_what_it_sees_as_generated(self):
        common = {"augment.ada_p": 1.0, "augment.ada_max_p": 1.0}
        _, plain = made(tiny.config(**{"augment.policy": ""}))
        _, apa = made(tiny.config(**{"augment.policy": "apa", **common}))
        _, anda = made(tiny.config(**{"augment.policy": "anda", **common}))
        assert torch.equal(apa.real[0], plain.fake[0])
        assert torch.equal(apa.fake_for_d[0], plain.fake[0])
        assert torch.equal(anda.real[0], plain.real[0]) and torch.equal(anda.fake[0], plain.fake[0])
        torch.testing.assert_close(
            anda.fake_for_d[0], 0.8 * plain.fake[0] + 0.2 * plain.real[0], rtol=0, atol=1e-6
        )

    @pytest.mark.parametrize("augment", [DiffAugment, lambda x, policy: AdaptiveAugment(policy)])
    @pytest.mark.parametrize("op", TRAINING_OPS)
    def test_they_are_refused_outside_a_training(self, augment, op):
        with pytest.raises(ValueError, match=f"{op} works only in a training"):
            augment(pictures(), policy=f"color,{op}")


class TestDiffusion:
    @pytest.mark.parametrize(("p", "last"), [(0.0, 10), (0.5, 505), (1.0, 1000)])
    def test_half_of_the_pictures_have_no_noise_and_late_steps_are_more_probable(self, p, last):
        taken = diffusion.steps(diffusion.draw(200_000, rng()), p)
        assert (taken == 0).double().mean().item() == pytest.approx(0.5, abs=0.01)
        noisy = taken[taken > 0].double()
        assert noisy.min() == 1 and noisy.max() == last
        weights = torch.arange(1, last + 1, dtype=torch.float64)
        expected = (weights * weights).sum() / weights.sum()
        assert noisy.mean().item() == pytest.approx(expected.item(), rel=0.01)
        first = (noisy <= last // 2).double().mean()  # its probability is about a quarter
        assert first.item() == pytest.approx(
            (weights[: last // 2].sum() / weights.sum()).item(), abs=0.01
        )

    def test_the_factors_are_those_of_the_published_chain(self):
        drawn = {"noisy": torch.ones(3), "step": torch.tensor([0.0, 0.5, 1.0])}
        factors = diffusion.gate(drawn, 1.0)
        for row, step_ in enumerate(diffusion.steps(drawn, 1.0).tolist()):
            kept = 1.0
            for number in range(step_):
                kept *= 1 - (1e-4 + (2e-2 - 1e-4) * number / 999)
            assert factors["picture"][row].item() == pytest.approx(kept**0.5, rel=1e-4)
            assert factors["noise"][row].item() == pytest.approx(0.05 * (1 - kept) ** 0.5, rel=1e-4)

    def test_a_picture_whose_step_is_0_is_unchanged(self):
        factors = diffusion.gate({"noisy": torch.zeros(2), "step": torch.rand(2)}, 0.7)
        assert factors["picture"].tolist() == [1, 1] and factors["noise"].tolist() == [0, 0]

    def test_in_a_step_real_and_generated_pictures_are_diffused_at_both_sizes(self):
        strong = {"augment.ada_p": 1.0, "augment.ada_max_p": 1.0, "train.batch_size": 64}
        plain_settings = tiny.config(**{"augment.policy": "", **strong})
        settings = tiny.config(**{"augment.policy": "diffusion", **strong})
        state = new_state(settings, 64, CPU)
        turn = draw_turn(state, settings)
        seen = views.views_of(state, pictures(64), turn, settings, with_graph=False)
        state = new_state(plain_settings, 64, CPU)
        plain_turn = draw_turn(state, plain_settings)
        plain = views.views_of(state, pictures(64), plain_turn, plain_settings, with_graph=False)
        for kind, drawn in (("real", turn.real), ("fake", turn.fake)):
            factors = diffusion.gate(drawn["diffusion"], 1.0)
            for clean, changed in zip(getattr(plain, kind), getattr(seen, kind), strict=True):
                noise = changed - factors["picture"][:, None, None, None] * clean
                deviations = noise.flatten(1).std(dim=1)
                torch.testing.assert_close(deviations, factors["noise"], rtol=0.15, atol=1e-6)


class TestConsistency:
    @pytest.mark.parametrize(
        ("weight", "second", "seen"),
        [
            ("bcr_real_weight", "second_real", "real"),
            ("bcr_fake_weight", "second_fake", "fake_for_d"),
            ("zcr_d_weight", "near", "fake_for_d"),
        ],
    )
    def test_d_pays_for_different_logits_of_the_two_views(self, weight, second, seen):
        settings = tiny.config(**{f"train.{weight}": 2.5})
        state, made_views = made(settings)
        turn = draw_turn(new_state(settings, 8, CPU), settings)
        total, parts = step.discriminator_loss(state, made_views, turn, False, settings, L1)
        state = new_state(settings, 8, CPU)
        logits = state.discriminator(*made_views.real, part=turn.part)[0]
        fakes = state.discriminator(*made_views.fake_for_d)[0]
        others = state.discriminator(*getattr(made_views, second))[0]
        first = logits if seen == "real" else fakes
        assert not torch.equal(getattr(made_views, second)[0], getattr(made_views, seen)[0])
        expected = sum(
            (a - b) ** 2
            for a, b in zip(first.flatten().tolist(), others.flatten().tolist(), strict=True)
        ) / len(first.flatten())
        name = weight.removesuffix("_weight")
        assert parts[f"loss/{name}"].item() == pytest.approx(expected, rel=1e-4)
        without = total - 2.5 * parts[f"loss/{name}"]
        rest = parts["loss/d"] + 8 * parts["loss/reconstruction"]
        assert without.item() == pytest.approx(rest.item(), rel=1e-4)

    def test_the_near_latents_are_as_far_as_asked(self):
        settings = tiny.config(**{"train.zcr_g_weight": 0.5, "train.zcr_noise": 0.25})
        state = new_state(settings, 8, CPU)
        turns = [draw_turn(state, settings) for _ in range(200)]
        steps = torch.cat([turn.near_latents[0] - turn.latents for turn in turns])
        assert steps.std().item() == pytest.approx(0.25, rel=0.05)

    def test_g_is_rewarded_for_pictures_that_differ(self):
        settings = tiny.config(**{"train.zcr_g_weight": 0.5})
        state, both = made(settings, with_graph=True)
        loss = step.generator_loss(state, both, settings)
        state, both = made(settings, with_graph=True)
        plain = step.generator_loss(state, both, tiny.config())
        difference = (both.outputs[0] - both.near_outputs[0]).detach()
        assert (loss - plain).item() == pytest.approx(
            -0.5 * difference.double().square().mean().item(), rel=1e-3
        )
        sensitivity = consistency.latent_sensitivity(both.outputs, both.near_outputs)
        sensitivity.backward()
        assert any(weight.grad is not None for weight in state.generator.parameters())

    def test_bcr_needs_an_augmentation(self):
        for policy in ("", "apa"):
            with pytest.raises(ValueError, match=r"must be 0 if augment\.policy has no operation"):
                tiny.config(**{"augment.policy": policy, "train.bcr_real_weight": 1.0})


class TestTopK:
    @pytest.mark.parametrize("name", LOSSES)
    @pytest.mark.parametrize("share", [0.1, 0.4, 0.6, 1.0])
    def test_the_loss_is_that_of_the_best_pictures_alone(self, name, share):
        fake, real = torch.randn((2, 5, 3), generator=rng(), dtype=torch.float64).unbind()
        fake = fake.requires_grad_()
        ranked = sorted(range(5), key=lambda row: -fake[row].mean().item())
        best = ranked[: max(1, round(5 * share))]
        expected = LOSSES[name].generator(fake[best], real[best])
        actual = losses.top_k_loss(LOSSES[name], fake, real, share)
        torch.testing.assert_close(actual, expected)
        (slow,) = torch.autograd.grad(expected, fake)
        (fast,) = torch.autograd.grad(actual, fake)
        torch.testing.assert_close(fast, slow)

    def test_equal_logits_still_give_the_asked_number_of_pictures(self):
        fake = torch.ones((6, 1), requires_grad=True)
        losses.top_k_loss(LOSSES["hinge"], fake, None, 0.5).backward()
        assert (fake.grad != 0).sum() == 3


class TestInstanceNoise:
    def test_real_and_generated_pictures_get_noise_of_the_asked_strength_at_both_sizes(self):
        policy = {"augment.policy": ""}
        _, plain = made(tiny.config(**policy))
        _, noisy = made(tiny.config(**policy, **{"train.instance_noise": 0.3}))
        for name in ("real", "fake"):
            for clean, changed in zip(getattr(plain, name), getattr(noisy, name), strict=True):
                noise = changed - clean
                assert noise.std().item() == pytest.approx(0.3, rel=0.1)
                assert noise.mean().item() == pytest.approx(0, abs=0.03)
        small = F.interpolate(noisy.real[0], size=noisy.real[1].shape[-1])
        assert not torch.equal(small, noisy.real[1])

    def test_a_later_step_has_other_noise(self):
        settings = tiny.config(**{"augment.policy": "", "train.instance_noise": 0.3})
        state = new_state(settings, 8, CPU)
        turn = draw_turn(state, settings)
        seen = []
        for number in range(2):
            state.step = number
            step.begin_step(state, settings)
            seen.append(views.augment_real(state, pictures(), turn.real, settings)[0])
        assert not torch.equal(*seen)


def test_an_unknown_name_suggests_the_new_operations():
    with pytest.raises((ValueError, UserError), match="did you mean apa"):
        tiny.config(**{"augment.policy": "apaa"})
