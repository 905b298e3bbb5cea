"""The options of one training step."""

from __future__ import annotations

import math

import pytest
import tiny
import torch
from steps import draw_turn, take_step
from torch import Tensor

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.train import step, views
from fastgan_ray.train.draws import ema_share
from fastgan_ray.train.loop import is_evaluation, total_steps
from fastgan_ray.train.losses import LOSSES
from fastgan_ray.train.perceptual import DISTANCES
from fastgan_ray.train.state import TrainState, new_state, update_ema

CPU = torch.device("cpu")
L1 = DISTANCES["l1"](CPU)


def start(settings: RunConfig) -> TrainState:
    return new_state(settings, 8, CPU)


def pictures(seed: int, count: int = 4) -> Tensor:
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def batches(settings: RunConfig) -> list[Tensor]:
    return [pictures(seed) for seed in range(settings.train.d_steps)]


def loss_of_d(state: TrainState, settings: RunConfig, number: int) -> tuple[Tensor, step.Scalars]:
    """D's loss in step `number` on two batches of pictures, one in the place of generated ones."""
    state.step = number
    (is_due,) = step.penalties_due(state, settings)
    turn = draw_turn(state, settings)
    real, fake = (
        views.augment_real(state, pictures(seed, settings.train.batch_size), drawn, settings)
        for seed, drawn in enumerate((turn.real, turn.fake))
    )
    pair = views.Views(real, fake, fake)
    return step.discriminator_loss(state, pair, turn, is_due, settings, L1)


def steps_taken(optimizer: torch.optim.Optimizer) -> set[float]:
    return {float(moments["step"]) for moments in optimizer.state.values()}


class TestDSteps:
    def test_d_takes_as_many_steps_and_each_batch_teaches(self):
        settings = tiny.config(**{"train.d_steps": 3})
        state = start(settings)
        take_step(state, batches(settings), settings, L1)
        assert steps_taken(state.optimizer_d) == {3}
        assert steps_taken(state.optimizer_g) == {1}
        assert state.step == 1
        changed = start(settings)
        take_step(changed, [pictures(9), *batches(settings)[1:]], settings, L1)
        weights = [next(iter(s.discriminator.parameters())) for s in (state, changed)]
        assert not torch.equal(*weights)

    def test_every_batch_shown_is_counted(self):
        settings = tiny.config(**{"train.d_steps": 2, "train.total_kimg": 0.033})
        assert settings.train.images_per_step == 8
        assert total_steps(settings) == 5
        steps = [s for s in range(1, 6) if is_evaluation(s, settings)]
        assert steps == [1, 2, 3, 4, 5]  # eval.every_kimg is 0.008

    def test_the_averages_halflife_counts_them_too(self):
        settings = tiny.config(**{"train.d_steps": 2, "train.ema_halflife_kimg": 0.04})
        state = start(settings)
        for weight, average in zip(
            state.generator.parameters(), state.ema.parameters(), strict=True
        ):
            weight.data.fill_(1.0)
            average.data.fill_(0.0)
        for _ in range(5):  # 5 steps of 2 batches of 4 are one half-life
            state.step += 1
            update_ema(state, ema_share(settings, state.step))
        for average in state.ema.parameters():
            torch.testing.assert_close(average, torch.full_like(average, 0.5))

    def test_lazy_penalties_count_ds_steps(self):
        settings = tiny.config(
            **{"train.d_steps": 2, "train.r1_gamma": 1.0, "train.r1_interval": 3}
        )
        state = start(settings)
        penalised = ["loss/r1" in take_step(state, batches(settings), settings, L1) for _ in "123"]
        assert penalised == [True, True, False]  # D's steps 0 and 3 of 0 to 5


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize(
    "changes",
    [
        {"train.loss": "wasserstein"},
        {"train.loss": "relativistic", "train.r1_gamma": 1.0, "train.r2_gamma": 1.0},
    ],
)
def test_penalties_are_finite_and_teach_d(changes, bf16):
    settings = tiny.config(**changes, **{"model.self_supervision": "none"})
    state = start(settings)
    scalars = take_step(state, batches(settings), settings, L1, bf16)
    penalties = {"loss/gp"} if "wasserstein" in changes.values() else {"loss/r1", "loss/r2"}
    assert penalties <= scalars.keys()
    assert all(math.isfinite(float(value)) for value in scalars.values())
    assert all(float(scalars[name]) > 0 for name in penalties)
    for network in (state.generator, state.discriminator):
        assert all(bool(weight.isfinite().all()) for weight in network.parameters())


@pytest.mark.parametrize("name", ["r1", "r2"])
def test_a_penalty_has_its_weight_in_the_total(name):
    values = {}
    for gamma in (1.0, 3.0):
        settings = tiny.config(**{f"train.{name}_gamma": gamma, "train.r1_interval": 5})
        state = start(settings)
        total, scalars = loss_of_d(state, settings, 0)
        values[gamma] = float(total.detach())
        penalty = float(scalars[f"loss/{name}"].detach())
    assert values[3.0] - values[1.0] == pytest.approx(2 * 5 * penalty, rel=1e-4)


def test_no_penalty_between_its_turns_or_by_default():
    for changes, turn in (({"train.r1_gamma": 1.0, "train.r2_gamma": 1.0}, 1), ({}, 0)):
        settings = tiny.config(**changes)
        state = start(settings)
        _, scalars = loss_of_d(state, settings, turn)
        assert not {"loss/r1", "loss/r2", "loss/gp"} & scalars.keys()


@pytest.mark.parametrize("name", LOSSES)
def test_d_judges_real_pictures_for_g_only_if_the_loss_pairs_them(name):
    settings = tiny.config(**{"train.loss": name})
    state = start(settings)
    turn = draw_turn(state, settings)
    fake = views.seen(state, views.generate(state, turn.latents), turn.fake, settings)
    if LOSSES[name].paired:
        real = views.augment_real(state, pictures(0), turn.real, settings)
        step.generator_loss(state, views.Views(real, fake, fake), settings).backward()
        assert all(weight.grad is not None for weight in state.generator.parameters())
    else:
        step.generator_loss(state, views.Views([], fake, fake), settings)


def test_summed_reconstruction_grows_with_the_batch():
    totals = {}
    for reduction, weight in (("mean", 8.0), ("sum", 1.0), ("sum", 0.0)):
        settings = tiny.config(
            **{
                "train.reconstruction_reduction": reduction,
                "train.reconstruction_weight": weight,
                "train.batch_size": 8,
            }
        )
        state = start(settings)
        total, scalars = loss_of_d(state, settings, 0)
        totals[reduction, weight] = float(total.detach())
        error = float(scalars["loss/reconstruction"].detach())
    # Published: a sum with weight 1 at a batch of 8, which is the mean with weight 8.
    assert totals["sum", 1.0] == totals["mean", 8.0]
    assert totals["sum", 1.0] - totals["sum", 0.0] == pytest.approx(8 * error, rel=1e-5)


def test_dropout_draws_from_a_stream_of_its_own(monkeypatch):
    settings = tiny.config(**{"model.d_dropout": 0.5})
    logits = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        state = start(settings)
        before = torch.get_rng_state()
        scalars = take_step(state, batches(settings), settings, L1)
        assert torch.equal(torch.get_rng_state(), before)
        logits.append(float(scalars["logits/real"]))
    assert logits[0] == logits[1] == logits[2]
    other = start(settings)
    monkeypatch.setattr(
        step, "seed_device_streams", lambda rngs, *_: rngs["dropout"].manual_seed(5)
    )
    scalars = take_step(other, batches(settings), settings, L1)
    assert float(scalars["logits/real"]) != logits[0]
    assert torch.equal(other.rngs["latents"].get_state(), state.rngs["latents"].get_state())


def test_the_gradients_norms_are_reported_and_change_nothing(monkeypatch):
    settings = tiny.config()
    weights, norms = [], []
    for reported in (True, False):
        state = start(settings)
        if not reported:
            monkeypatch.setattr(step, "total_norm", lambda gradients: torch.zeros(()))
        for _ in range(2):
            norms.append(take_step(state, batches(settings), settings, L1))
        networks = (state.generator, state.discriminator)
        gradients = [[weight.grad for weight in network.parameters()] for network in networks]
        weights.append([weight for network in networks for weight in network.parameters()])
        if reported:
            for name, parts in zip(("grad/g", "grad/d"), gradients, strict=True):
                squares = sum(float(part.double().square().sum()) for part in parts)
                assert float(norms[-1][name]) == pytest.approx(math.sqrt(squares), rel=1e-5)
    assert all(torch.equal(*pair) for pair in zip(*weights, strict=True))
