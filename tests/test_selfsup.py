"""Self-supervision of D: each arm's losses, the contrastive views, the probe of D's trunk."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
import torch
from steps import draw_turn, take_step
from torch import Tensor

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.train import self_supervision
from fastgan_ray.train.batches import pictures_at
from fastgan_ray.train.d_reconstruction import d_reconstruction
from fastgan_ray.train.losses import contrastive
from fastgan_ray.train.perceptual import DISTANCES
from fastgan_ray.train.state import TrainState, new_state

CPU = torch.device("cpu")
L1 = DISTANCES["l1"](CPU)


def start(settings: RunConfig) -> TrainState:
    return new_state(settings, 8, CPU)


def drawn(count: int = 4) -> np.ndarray:
    """Flat colours with a darker half, 32 px, as stored."""
    noise = np.random.default_rng(0)
    images = np.repeat(noise.integers(0, 255, (count, 1, 1, 3), dtype=np.uint8), 32, axis=1)
    images = np.repeat(images, 32, axis=2)
    images[: count // 2, :16] //= 2
    images[count // 2 :, :, :16] //= 2
    return images


def pictures(count: int = 4) -> Tensor:
    return pictures_at(drawn(count), torch.arange(count), CPU)


def test_stored_pictures_are_scaled_and_turned():
    images = np.zeros((2, 4, 4, 3), np.uint8)
    images[1, 0, 3] = (255, 51, 0)
    found = pictures_at(images, torch.tensor([1, 0]), CPU)
    assert found.shape == (2, 3, 4, 4)
    torch.testing.assert_close(found[0, :, 0, 3], torch.tensor([1.0, -0.6, -1.0]))
    assert torch.equal(found[1], -torch.ones(3, 4, 4))


@pytest.mark.parametrize(
    ("kind", "losses"),
    [
        ("ae", {"loss/reconstruction"}),
        ("none", set()),
        ("contrastive", {"loss/contrastive"}),
        ("ae_contrastive", {"loss/reconstruction", "loss/contrastive"}),
        ("augself", {"loss/augself"}),
        ("ae_augself", {"loss/reconstruction", "loss/augself"}),
        ("insgen", {"loss/insgen_fake", "loss/insgen_real"}),
        ("ae_fakeclr", {"loss/reconstruction", "loss/insgen_fake"}),
    ],
)
def test_each_arm_has_its_losses(kind, losses):
    settings = tiny.config(**{"model.self_supervision": kind})
    state = start(settings)
    scalars = take_step(state, [pictures()], settings, L1)
    assert {name for name in scalars if name.startswith("loss/")} == losses | {"loss/d", "loss/g"}
    assert all(weight.grad is not None for weight in state.discriminator.parameters())


@pytest.mark.parametrize(
    ("arm", "stream"), [("ae_contrastive", "contrastive"), ("ae_insgen", "instances")]
)
def test_arms_see_the_same_draws_elsewhere(arm, stream):
    rngs = []
    for kind in ("none", arm):
        settings = tiny.config(**{"model.self_supervision": kind})
        state = start(settings)
        take_step(state, [pictures()], settings, L1)
        rngs.append({name: rng.get_state() for name, rng in state.rngs.items()})
    differing = {name for name in rngs[0] if not torch.equal(rngs[0][name], rngs[1][name])}
    assert differing - {"noise"} == {"init", stream}  # "noise" is seeded again in each step


def test_contrastive_loss_is_of_two_different_views_of_each_picture(monkeypatch):
    settings = tiny.config(**{"model.self_supervision": "contrastive"})
    state = start(settings)
    seen = []
    monkeypatch.setattr(
        state.discriminator, "embed", lambda full: seen.append(full) or full.flatten(1)
    )
    loss = self_supervision.contrastive_loss(
        state, pictures(), draw_turn(state, settings), settings
    )
    first, second = seen[0].chunk(2)
    assert first.shape == second.shape == (4, 3, 32, 32)
    assert all(not torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, pictures(), strict=True))
    assert torch.equal(loss, contrastive(first.flatten(1), second.flatten(1), 0.1))


def test_contrastive_loss_is_learnt():
    settings = tiny.config(
        **{
            "model.self_supervision": "contrastive",
            "train.lr_d": 2e-3,
            "train.batch_size": 8,
            "augment.policy": "cutout",
        }
    )
    state = start(settings)
    found = []
    for _ in range(40):
        loss = self_supervision.contrastive_loss(
            state, pictures(8), draw_turn(state, settings), settings
        )
        state.optimizer_d.zero_grad()
        loss.backward()
        state.optimizer_d.step()
        found.append(float(loss.detach()))
    assert sum(found[-5:]) < 0.7 * sum(found[:5])


class TestProbe:
    def probe(self, state: TrainState, steps: int) -> float:
        return d_reconstruction(state.discriminator, drawn(), L1, 8, steps, CPU)

    def test_it_repeats_itself_and_leaves_everything_as_it_was(self):
        state = start(tiny.config())
        take_step(state, [pictures()], tiny.config(), L1)
        before = {name: value.clone() for name, value in state.discriminator.state_dict().items()}
        gradients = [weight.grad.clone() for weight in state.discriminator.parameters()]
        seed = torch.get_rng_state()
        first = self.probe(state, 3)
        torch.manual_seed(7)
        assert self.probe(state, 3) == first
        torch.set_rng_state(seed)
        after = state.discriminator.state_dict()
        assert all(torch.equal(before[name], after[name]) for name in before)
        for weight, gradient in zip(state.discriminator.parameters(), gradients, strict=True):
            assert torch.equal(weight.grad, gradient)
            assert weight.requires_grad
        assert state.discriminator.training
        assert torch.equal(torch.get_rng_state(), seed)

    def test_it_learns(self):
        state = start(tiny.config())
        assert self.probe(state, 30) < 0.7 * self.probe(state, 0)

    def test_a_trunk_that_lost_the_picture_cannot_give_it_back(self):
        settings = tiny.config(**{"model.spectral_norm": False})
        sighted, blind = start(settings), start(settings)
        torch.nn.init.zeros_(blind.discriminator.stem[0].weight)
        # Of pictures that it cannot tell apart, the best guess is the median of all.
        guess = pictures().median(dim=0, keepdim=True).values.expand(4, -1, -1, -1)
        best = float(L1(guess, pictures()))
        assert self.probe(blind, 40) >= best
        assert self.probe(sighted, 40) < best

    def test_every_arm_can_be_probed(self):
        for kind in ("none", "contrastive"):
            assert self.probe(start(tiny.config(**{"model.self_supervision": kind})), 1) > 0

    def test_it_stands_in_the_last_row_only(self, tmp_path):
        rows = tiny.rows_of(tmp_path, **{"eval.probe_steps": 2})
        assert ["d_reconstruction" in row for row in rows] == [False, True]
        assert 0 < rows[-1]["d_reconstruction"] < 2
        assert 0 < rows[-1]["d_reconstruction_untrained"] < 2
        assert rows[-1]["d_reconstruction_untrained"] != rows[-1]["d_reconstruction"]
