"""Re-GAN: schedule, masks, exact zeros, regrowth, resuming, what it reports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from steps import take_step
from torch import Tensor, nn

from fastgan_ray.config.regan import ReganConfig
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.errors import UserError
from fastgan_ray.models import build_generator
from fastgan_ray.train import checkpoint
from fastgan_ray.train.costs import sampling_gflop
from fastgan_ray.train.perceptual import DISTANCES
from fastgan_ray.train.regan import (
    DENSE,
    SPARSE,
    WARM_UP,
    Regan,
    layer_weights,
    period_at,
    phase_of,
    smallest,
    uses_per_weight,
)
from fastgan_ray.train.state import TrainState, new_state

CPU = torch.device("cpu")
L1 = DISTANCES["l1"](CPU)
# Steps of 4 images: one of warm-up, then two sparse, two dense, and so on.
ON = {"regan.sparsity": 0.7, "regan.warmup_kimg": 0.004, "regan.interval_kimg": 0.008}
PHASES = [WARM_UP, SPARSE, SPARSE, DENSE, DENSE, SPARSE, SPARSE, DENSE]


def config(**changes: Any) -> RunConfig:
    return tiny.config(**ON | changes)


def advance(state: TrainState, settings: RunConfig, steps: int) -> None:
    for _ in range(steps):
        rng = torch.Generator().manual_seed(state.step)
        batch = torch.rand(4, 3, 32, 32, generator=rng) * 2 - 1
        take_step(state, [batch], settings, L1)


def run(settings: RunConfig, steps: int) -> TrainState:
    state = new_state(settings, 8, CPU)
    advance(state, settings, steps)
    return state


def weights(state: TrainState) -> dict[str, Tensor]:
    return {name: w.detach().clone() for name, w in layer_weights(state.generator).items()}


class TestSchedule:
    @pytest.mark.parametrize(
        ("images", "period", "phase"),
        [
            (0, -1, WARM_UP),
            (999, -1, WARM_UP),
            (1000, 0, SPARSE),
            (1499, 0, SPARSE),
            (1500, 1, DENSE),
            (2000, 2, SPARSE),
            (2500, 3, DENSE),
        ],
    )
    def test_phases_follow_the_images_shown(self, images, period, phase):
        section = ReganConfig(sparsity=0.5, warmup_kimg=1.0, interval_kimg=0.5)
        assert period_at(images, section) == period
        assert phase_of(period) == phase

    def test_without_sparsity_there_is_no_phase(self):
        assert period_at(10**9, ReganConfig()) == -1

    def test_each_step_has_its_phase(self):
        settings = config()
        state = new_state(settings, 8, CPU)
        phases = []
        for _ in PHASES:
            advance(state, settings, 1)
            phases.append(phase_of(state.regan.period))
        assert phases == PHASES


class TestMask:
    @given(
        st.lists(st.integers(-20, 20), min_size=1, max_size=30), st.floats(0, 1, exclude_max=True)
    )
    def test_the_smallest_go_and_ties_stay(self, values, share):
        weight = torch.tensor(values, dtype=torch.float32)
        pruned = smallest(weight, share)
        threshold = sorted(abs(value) for value in values)[int(share * len(values))]
        assert pruned.tolist() == [abs(value) < threshold for value in values]
        assert int(pruned.sum()) <= share * len(values)

    @pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
    def test_the_share_is_reached(self, share):
        weight = torch.randn(10, 10, 3, 3, generator=torch.Generator().manual_seed(0))
        assert int(smallest(weight, share).sum()) == int(share * 900)

    @pytest.mark.parametrize("spectral", [True, False])
    def test_it_is_of_the_weights_that_training_moves(self, spectral):
        settings = config(**{"model.spectral_norm": spectral})
        generator = build_generator(settings.model)
        found = layer_weights(generator)
        parameters = {id(parameter) for parameter in generator.parameters()}
        layers = [m for m in generator.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
        assert len(found) == len(layers) > 5
        assert all(id(weight) in parameters for weight in found.values())


@pytest.mark.parametrize("changes", [{}, {"model.spectral_norm": False}, {"train.d_steps": 1}])
def test_pruned_weights_are_exactly_zero_after_every_sparse_step(changes):
    settings = config(**changes)
    state = run(settings, 2)
    masks = {name: mask.clone() for name, mask in state.regan.pruned.items()}
    before = weights(state)
    for _ in range(2):
        averages = layer_weights(state.ema)
        assert masks.keys() == layer_weights(state.generator).keys()
        for name, weight in layer_weights(state.generator).items():
            assert torch.equal(state.regan.pruned[name], masks[name])
            moments = state.optimizer_g.state[weight]
            for tensor in (weight, averages[name], moments["exp_avg"], moments["exp_avg_sq"]):
                assert bool((tensor[masks[name]] == 0).all()), name
        if phase_of(period_at(state.step * 4, settings.regan)) != SPARSE:
            break
        advance(state, settings, 1)
    after = weights(state)
    moved = [name for name in after if not torch.equal(after[name], before[name])]
    assert len(moved) == len(after)


def test_masks_follow_the_weights_at_the_beginning_of_a_phase():
    # A rate at which kept weights fall below pruned ones within a phase.
    settings = config(**{"regan.regrow": "stored", "train.lr_g": 0.01})
    state = run(settings, 1)
    expected = {name: smallest(weight, 0.7) for name, weight in weights(state).items()}
    advance(state, settings, 1)
    assert all(torch.equal(state.regan.pruned[name], expected[name]) for name in expected)
    first = {name: mask.clone() for name, mask in state.regan.pruned.items()}
    advance(state, settings, 2)
    assert state.regan.pruned == {}
    advance(state, settings, 2)
    assert any(not torch.equal(state.regan.pruned[name], first[name]) for name in first)


@pytest.mark.parametrize("regrow", ["zero", "stored"])
def test_dense_phases_regrow_pruned_weights(regrow):
    settings = config(**{"regan.regrow": regrow})
    state = run(settings, 1)
    last = weights(state)
    advance(state, settings, 2)
    masks = {name: mask.clone() for name, mask in state.regan.pruned.items()}
    sparse = weights(state)
    state.regan.begin_step(state.step * 4, settings.regan)  # what the first dense step begins with
    for name, weight in weights(state).items():
        kept = ~masks[name]
        assert torch.equal(weight[kept], sparse[name][kept])
        expected = last[name] if regrow == "stored" else torch.zeros_like(weight)
        assert torch.equal(weight[masks[name]], expected[masks[name]])
    assert state.regan.pruned == state.regan.stored == {}
    advance(state, settings, 1)
    zeros = sum(int((weight == 0).sum()) for weight in weights(state).values())
    assert zeros < 0.01 * sum(weight.numel() for weight in last.values())


def test_learning_rate_is_lowered_in_dense_phases_only():
    settings = config(**{"train.lr_g": 1e-3, "regan.dense_lr_factor": 0.25})
    state = new_state(settings, 8, CPU)
    rates = []
    for _ in PHASES:
        advance(state, settings, 1)
        rates.append(state.optimizer_g.param_groups[0]["lr"])
    assert rates == [2.5e-4 if phase == DENSE else 1e-3 for phase in PHASES]
    assert state.optimizer_d.param_groups[0]["lr"] == settings.train.lr_d


def test_a_step_that_skips_a_dense_phase_prunes_afresh():
    # Each step of 4 images passes two phases.
    passing = {"regan.interval_kimg": 0.002, "regan.regrow": "stored", "train.lr_g": 0.01}
    settings = config(**passing)
    state = run(settings, 2)
    first = {name: mask.clone() for name, mask in state.regan.pruned.items()}
    advance(state, settings, 1)
    assert state.regan.period == 2
    assert any(not torch.equal(state.regan.pruned[name], first[name]) for name in first)


def test_pruning_before_the_first_step():
    state = run(config(**{"regan.warmup_kimg": 0.0}), 1)
    for name, weight in layer_weights(state.generator).items():
        assert bool((weight[state.regan.pruned[name]] == 0).all())


def test_off_changes_nothing():
    off = config(**{"regan.sparsity": 0.0})
    never = config(**{"regan.warmup_kimg": 1000.0})
    first, second = weights(run(off, 3)), weights(run(never, 3))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert run(off, 1).regan.report(torch.zeros(1, 8), 1.0) == {}


class TestReport:
    def test_sparsity_and_multiply_adds_by_hand(self):
        network = nn.Sequential(
            nn.ConvTranspose2d(1, 2, 2, stride=2, bias=False),  # 8 weights, applied to 4 positions
            nn.Conv2d(2, 1, 3, padding=1, bias=False),  # 18 weights, applied to 16 positions
        )
        x = torch.zeros(1, 1, 2, 2)
        assert uses_per_weight(network, x) == {"0": 4, "1": 16}
        with torch.no_grad():
            for layer, zeros in ((network[0], 2), (network[1], 9)):
                layer.weight.fill_(1.0)
                layer.weight.view(-1)[:zeros] = 0
        optimizer = torch.optim.Adam(network.parameters())
        report = Regan(ReganConfig(sparsity=0.5), network, network, optimizer).report(x, 1e-6)
        assert report["regan/sparsity"] == pytest.approx(11 / 26)
        assert report["regan/flops_share"] == pytest.approx((6 * 4 + 9 * 16) / (8 * 4 + 18 * 16))
        assert report["regan/gflop_g"] == pytest.approx(1e-6 - 2e-9 * (2 * 4 + 9 * 16))
        assert not any(layer._forward_hooks for layer in network)

    def test_a_linear_layer_is_pruned_and_counted_too(self):
        network = nn.Sequential(nn.Linear(3, 4), nn.Unflatten(1, (1, 2, 2)), nn.Conv2d(1, 1, 1))
        assert {name: w.ndim for name, w in layer_weights(network).items()} == {"0": 2, "2": 4}
        assert uses_per_weight(network, torch.zeros(1, 3)) == {"0": 1, "2": 4}

    def test_what_is_reported_is_what_is_sampled(self):
        settings = config()
        state = run(settings, 3)
        z_BZ = torch.zeros(1, settings.model.nz)
        gflop = sampling_gflop(settings)
        sparse = state.regan.report(z_BZ, gflop)
        assert sparse["regan/phase"] == SPARSE
        assert sparse["regan/sparsity"] == pytest.approx(0.7, abs=0.01)
        assert 0.25 < sparse["regan/flops_share"] < 0.35
        advance(state, settings, 1)
        assert 0.25 < sparse["regan/gflop_g"] / gflop < 0.4  # only convolutions are pruned
        dense = state.regan.report(z_BZ, gflop)
        assert dense["regan/phase"] == DENSE
        assert dense["regan/sparsity"] < 0.01
        assert dense["regan/flops_share"] > 0.99
        assert 0.99 < dense["regan/gflop_g"] / gflop <= 1

    def test_rows_hold_it(self, tmp_path):
        rows = tiny.rows_of(tmp_path, **ON)
        assert [row["regan/phase"] for row in rows] == [SPARSE, DENSE]
        assert rows[0]["regan/sparsity"] == pytest.approx(0.7, abs=0.01)
        assert rows[0]["regan/gflop_g"] < 0.4 * rows[0]["gflop_g"] == 0.4 * rows[1]["gflop_g"]
        generator, _ = checkpoint.load_generator(next(tmp_path.glob("run/checkpoint-*")))
        assert not generator.training


def tensors(state: TrainState) -> dict[str, Tensor]:
    moments = {
        f"{index}.{name}": value
        for index, mine in state.optimizer_g.state_dict()["state"].items()
        for name, value in mine.items()
    }
    return {
        **{f"g.{name}": value for name, value in state.generator.state_dict().items()},
        **{f"d.{name}": value for name, value in state.discriminator.state_dict().items()},
        **{f"ema.{name}": value for name, value in state.ema.state_dict().items()},
        **{f"regan.{name}": value for name, value in state.regan.state().items()},
        **moments,
    }


@pytest.mark.parametrize("regrow", ["zero", "stored"])
@pytest.mark.parametrize("steps", [2, 4])  # in the middle of a sparse, of a dense phase
def test_resuming_in_the_middle_of_a_phase_is_exact(tmp_path: Path, steps: int, regrow: str):
    settings = config(**{"regan.regrow": regrow})
    state = run(settings, steps)
    assert phase_of(state.regan.period) == (SPARSE if steps == 2 else DENSE)
    folder = checkpoint.save(tmp_path / "c", state, settings, {})
    resumed = new_state(settings, 8, CPU)
    checkpoint.restore(folder, resumed, settings)
    for _ in range(3):  # into the next phase
        advance(state, settings, 1)
        advance(resumed, settings, 1)
        first, second = tensors(state), tensors(resumed)
        assert first.keys() == second.keys()
        assert [name for name in first if not torch.equal(first[name], second[name])] == []
    rates = [s.optimizer_g.param_groups[0]["lr"] for s in (state, resumed)]
    assert rates[0] == rates[1]


@pytest.mark.parametrize("key", ["pruned.nowhere", "stored.to_full"])
def test_a_mask_of_another_generator_is_refused(key):
    state = new_state(config(), 8, CPU)
    with pytest.raises(UserError, match=rf"regan: .*{key} does not fit any layer"):
        state.regan.load_state({"period": torch.tensor(0), key: torch.zeros(2, 2)})
