"""AugSelf-GAN: the numbers that D predicts, its losses and G's, against slow versions."""

from __future__ import annotations

import math

import pytest
import tiny
import torch
from steps import draw_turn, take_step
from torch import Tensor

from fastgan_ray.augment import pipeline
from fastgan_ray.augment.targets import targets_of
from fastgan_ray.config.augment import AugmentConfig
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.config.task_fields import PREDICTED, PREDICTED_COUNT
from fastgan_ray.models import build_discriminator
from fastgan_ray.search.cost.estimate import gflop_per_image
from fastgan_ray.search.cost.memory import training_gb
from fastgan_ray.train import self_supervision, step, views
from fastgan_ray.train.losses import LOSSES
from fastgan_ray.train.perceptual import DISTANCES
from fastgan_ray.train.state import TrainState, new_state

CPU = torch.device("cpu")
L1 = DISTANCES["l1"](CPU)
ON = {"model.self_supervision": "augself", "augment.policy": "color,translation,cutout"}
COLOR, TRANSLATION, CUTOUT = slice(0, 3), slice(3, 5), slice(5, 7)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int = 4) -> Tensor:
    return torch.rand((count, 3, 32, 32), generator=rng(1)) * 2 - 1


def drawn_targets(channels: int = 3, count: int = 500, **changes: object) -> tuple[Tensor, ...]:
    augment = AugmentConfig.model_validate({"policy": ON["augment.policy"], **changes})
    drawn = pipeline.draw(augment, count, rng())
    return (*targets_of(drawn, augment, channels), drawn)


def start(**changes: object) -> tuple[RunConfig, TrainState]:
    settings = tiny.config(**{**ON, **changes})
    return settings, new_state(settings, 8, CPU)


def made(
    settings: RunConfig, state: TrainState, with_graph: bool = False
) -> tuple[step.Turn, views.Views]:
    turn = draw_turn(state, settings)
    return turn, views.views_of(state, pictures(), turn, settings, with_graph)


class TestTargets:
    def test_they_are_the_drawn_numbers_between_0_and_1(self):
        numbers, weights, drawn = drawn_targets(brightness=0.4, saturation=0.6, contrast=0.2)
        assert numbers.shape == weights.shape == (500, PREDICTED_COUNT)
        assert numbers.min() >= 0 and numbers.max() <= 1
        assert numbers.mean(0).tolist() == pytest.approx([0.5] * 7, abs=0.05)
        for row in range(3):
            color = {name: float(drawn["color"][name][row]) for name in PREDICTED["color"]}
            assert numbers[row].tolist() == pytest.approx(
                [
                    (color["brightness"] + 0.4) / 0.8,
                    (color["saturation"] - 0.4) / 1.2,
                    (color["contrast"] - 0.8) / 0.4,
                    *drawn["translation"]["where"][row].tolist(),
                    *drawn["cutout"]["centre"][row].tolist(),
                ],
                abs=1e-5,
            )
        assert weights[0].tolist() == pytest.approx([1 / 3] * 3 + [1 / 2] * 4)

    def test_pictures_that_are_not_chosen_count_nothing(self):
        numbers, weights, drawn = drawn_targets(probability=0.4)
        chosen = drawn["color"]["chosen"]
        assert 0.3 < chosen.float().mean() < 0.5
        assert bool((weights > 0).eq(chosen[:, None]).all()) and bool(numbers.isfinite().all())

    @pytest.mark.parametrize(
        ("channels", "changes", "weights"),
        [
            (3, {"policy": "color"}, [1 / 3] * 3 + [0] * 4),
            (3, {"policy": "bgc,translation"}, [0] * 3 + [1 / 2] * 2 + [0] * 2),
            (1, {"policy": "color,cutout"}, [1 / 2, 0, 1 / 2, 0, 0, 1 / 2, 1 / 2]),
            (4, {"policy": "color"}, [1 / 3] * 3 + [0] * 4),
            (3, {"brightness": 0.0, "translation": 0.0}, [0, 1 / 2, 1 / 2, 0, 0, 1 / 2, 1 / 2]),
        ],
    )
    def test_numbers_without_an_effect_count_nothing(self, channels, changes, weights):
        numbers, found, _ = drawn_targets(channels, **changes)
        assert bool(numbers.isfinite().all())
        assert found[0].tolist() == pytest.approx(weights)


class TestLosses:
    def test_the_error_by_hand(self):
        predicted = torch.tensor([[0.5] * 3 + [0.0] * 2 + [1.0] * 2, [1.0] * 7])
        numbers = torch.tensor([[0.0] * 3 + [1.0] * 2 + [0.25, 0.75], [0.5] * 7])
        weights = torch.tensor([[1 / 3] * 3 + [1 / 2] * 4, [0.0] * 7])
        targets = torch.stack([numbers, weights])
        first = 0.25 + 1 + (0.75**2 + 0.25**2) / 2  # the second picture was not augmented
        found = self_supervision.prediction_error(predicted, targets, 1)
        assert float(found) == pytest.approx(first / 2)
        first = 0.25 + 1 + (1.25**2 + 1.75**2) / 2
        found = self_supervision.prediction_error(predicted, targets, -1)
        assert float(found) == pytest.approx(first / 2)

    def slow_errors(
        self, state: TrainState, images: Tensor, plain: Tensor, targets: Tensor
    ) -> list[float]:
        """The errors of the prediction for the targets and for minus the targets."""
        discriminator = state.discriminator
        assert isinstance(discriminator.predictor, torch.nn.Sequential)
        linear = discriminator.predictor[-1]
        features = discriminator.trunk(images) - discriminator.trunk(plain)
        sums = [0.0, 0.0]
        for row, vector in enumerate(features.flatten(2).mean(2)):
            for op in (COLOR, TRANSLATION, CUTOUT):
                guess = (linear.weight[op] @ vector + linear.bias[op]).tolist()
                right = targets[0, row, op].tolist()
                for index, sign in enumerate((1, -1)):
                    squares = [(a - sign * b) ** 2 for a, b in zip(guess, right, strict=True)]
                    sums[index] += sum(squares) / len(squares) / len(features)
        return sums

    # Without spectral normalisation, another pass does not change D.
    def test_d_predicts_real_pictures_and_minus_the_numbers_of_generated_ones(self):
        settings, state = start(**{"model.spectral_norm": False, "train.augself_d_weight": 0.7})
        turn, seen = made(settings, state)
        assert torch.equal(seen.plain[0], pictures())
        real, fake = (
            self.slow_errors(state, images[0], plain, targets)[index]
            for index, (images, plain, targets) in enumerate(
                zip((seen.real, seen.fake_for_d), seen.plain, turn.targets, strict=True)
            )
        )
        total, parts = step.discriminator_loss(state, seen, turn, False, settings, L1)
        assert parts["loss/augself"].item() == pytest.approx(real + fake, rel=1e-4)
        expected = parts["loss/d"].item() + 0.7 * (real + fake)
        assert total.item() == pytest.approx(expected, rel=1e-4)

    def test_g_learns_to_look_as_predictable_as_real_pictures(self):
        settings, state = start(**{"model.spectral_norm": False, "train.augself_g_weight": 0.3})
        turn, seen = made(settings, state, with_graph=True)
        as_real, as_fake = self.slow_errors(
            state, seen.fake[0], seen.outputs[0].detach(), turn.targets[1]
        )
        loss = step.generator_loss(state, seen, settings)
        plain = LOSSES["hinge"].generator(state.discriminator(*seen.fake)[0], None)
        assert (loss - plain).item() == pytest.approx(0.3 * (as_real - as_fake), rel=1e-3, abs=1e-5)
        (loss - plain).backward()
        assert any(bool(weight.grad.any()) for weight in state.generator.parameters())

    def test_without_g_s_weight_g_s_step_sees_its_pictures_once(self):
        settings, state = start(**{"train.augself_g_weight": 0.0})
        _, seen = made(settings, state, with_graph=True)
        assert self_supervision.g_term(state, seen, [], settings) is None

    def test_the_numbers_are_learnt(self):
        changes = {"augment.policy": "color", "train.lr_d": 2e-3, "train.batch_size": 8}
        settings, state = start(**changes)
        batch = pictures(8)
        found = []
        for _ in range(60):
            turn = draw_turn(state, settings)
            seen = views.views_of(state, batch, turn, settings, with_graph=False)
            features = [state.discriminator.trunk(images[0]) for images in (seen.real, seen.fake)]
            terms = self_supervision.d_terms(state, seen, features, settings)
            loss = terms["augself"][1]
            state.optimizer_d.zero_grad()
            loss.backward()
            state.optimizer_d.step()
            found.append(loss.item())
        assert sum(found[-5:]) < 0.6 * sum(found[:5])

    def test_a_step_takes_the_features_from_the_passes_that_judge(self, monkeypatch):
        settings, state = start()
        trunk, seen = state.discriminator.trunk, []
        monkeypatch.setattr(
            state.discriminator, "trunk", lambda full: seen.append(len(full)) or trunk(full)
        )
        scalars = take_step(state, [pictures()], settings, L1)
        assert seen == [4, 4, 4]  # D's step sees real and generated pictures, G's generated ones
        assert math.isfinite(float(scalars["loss/augself"]))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"model.architecture": "dcgan", "model.dcgan_depth": 3, "model.dcgan_width": 4},
        {"model.architecture": "sngan", "model.resolution": 64},
        {"model.architecture": "stylegan2", "model.ngf": 1, "model.ndf": 1},
        {"model.discriminator": "projected", "model.d_input_px": 70},
    ],
)
def test_the_kept_features_are_those_of_the_trunk(changes):
    config = tiny.config(**{**ON, **changes}).model
    network = build_discriminator(config).eval()
    full = torch.rand(2, 3, *config.size, generator=rng()) * 2 - 1
    small = full[:, :, ::2, ::2]
    with network.keeping_features() as kept:
        network(full, small)
    torch.testing.assert_close(kept[0], network.trunk(full))
    network(full, small)
    assert len(kept) == 1
    assert network.predict_augmentation(kept[0], 0 * kept[0]).shape == (2, PREDICTED_COUNT)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"train.augself_g_weight": 0.2},
            r"augself_g_weight must be 1 unless model\.self_supervision is augself, ae_augself, "
            r"because only this task uses it \(got augself_g_weight 0\.2, self_supervision ae\)",
        ),
        (
            {"train.augself_d_weight": {"from": 1, "to": 0.1, "over_kimg": 1, "shape": "linear"}},
            "augself_d_weight must be 1 unless",
        ),
        (
            {"model.self_supervision": "augself", "augment.policy": "bgc,apa"},
            r"can be augself or ae_augself only if augment\.policy has at least one of color, "
            r'translation, cutout .*got policy "bgc,apa"',
        ),
        (
            {"model.self_supervision": "ae_augself", "augment.probability": 0.0},
            r"augment\.probability is above 0",
        ),
    ],
)
def test_combinations_without_meaning_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        tiny.config(**changes)


def test_estimates_count_the_further_passes():
    plain = tiny.config(**{**ON, "model.self_supervision": "none"})
    without_g, both = (
        tiny.config(**{**ON, "train.augself_g_weight": weight}) for weight in (0.0, 1.0)
    )
    costs = [gflop_per_image(config) for config in (plain, without_g, both)]
    assert costs[1] - costs[0] == pytest.approx(2 * (costs[2] - costs[1]), rel=1e-6)
    assert training_gb(both, False) > 1.3 * training_gb(plain, False)
