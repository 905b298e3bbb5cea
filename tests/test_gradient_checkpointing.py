"""Blocks computed again for the gradients: the same training, bit for bit, in less memory."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import tiny
import torch
from steps import take_step
from torch import Tensor

from fastgan_ray.config.override import override
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.errors import UserError
from fastgan_ray.models.kernels import use_kernels
from fastgan_ray.search.cost.memory import training_gb
from fastgan_ray.train.perceptual import DISTANCES
from fastgan_ray.train.state import TrainState, new_state

CPU = torch.device("cpu")
SETTINGS = {
    "plain": {"augment.policy": "color,translation"},
    "penalties": {"train.r1_gamma": 1.0, "train.r2_gamma": 1.0, "train.loss": "logistic"},
    "FreGAN": {
        **{"model.g_wavelet_skips": True, "model.d_high_frequency": True},
        **{"train.alignment_weight": 1.0, "train.r1_gamma": 1.0, "train.loss": "logistic"},
    },
    "wgan-gp": {"train.loss": "wasserstein"},
    "two steps of D": {"train.d_steps": 2, "model.self_supervision": "contrastive"},
}
SIZE = {"model.resolution": 128}


def steps(bf16: bool = False, **changes: Any) -> tuple[TrainState, list[dict[str, Tensor]]]:
    """A few steps on the same pictures."""
    settings = tiny.config(**changes)
    state, rng = new_state(settings, 4, CPU), torch.Generator().manual_seed(0)
    count = settings.train.d_steps
    pictures = [torch.rand(4, 3, 32, 32, generator=rng) * 2 - 1 for _ in range(3 * count)]
    distance = DISTANCES["l1"](CPU)
    rows = [
        take_step(state, pictures[first : first + count], settings, distance, bf16)
        for first in range(0, len(pictures), count)
    ]
    return state, rows


@pytest.mark.parametrize("kernels", ["cpu", "cuda"])
@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("name", SETTINGS)
def test_a_training_is_the_same_to_the_last_bit(name: str, bf16: bool, kernels: str) -> None:
    changes = SETTINGS[name]
    with use_kernels(kernels):
        expected, rows = steps(bf16, **changes)
        found, again = steps(bf16, **changes, **{"train.gradient_checkpointing": True})
    assert rows == again
    for network in ("generator", "discriminator", "ema"):
        whole = getattr(expected, network).state_dict()
        for key, tensor in getattr(found, network).state_dict().items():
            assert torch.equal(tensor, whole[key]), f"{network} {key}"
    for stream, rng in found.rngs.items():
        assert torch.equal(rng.get_state(), expected.rngs[stream].get_state())
    copied = copy.deepcopy(found.discriminator)  # as the probe does
    assert copied.blocks[0].forward.args[0] is copied.blocks[0]


def kept_bytes(**changes: Any) -> int:
    """What a step keeps for its gradients, at most, beside the weights."""
    settings = tiny.config(**SIZE, **changes)
    state, now, most = new_state(settings, 4, CPU), 0, 0
    sizes: dict[int, int] = {}

    class Kept:
        def __init__(self, tensor: Tensor) -> None:
            nonlocal now, most
            self.tensor, self.key = tensor, tensor.untyped_storage().data_ptr()
            self.size = tensor.untyped_storage().nbytes()
            sizes[self.key] = sizes.get(self.key, 0) + 1
            now += self.size * (sizes[self.key] == 1)
            most = max(most, now)

        def __del__(self) -> None:
            nonlocal now
            sizes[self.key] -= 1
            now -= self.size * (sizes[self.key] == 0)

    pictures = torch.zeros(4, 3, 128, 128)
    with torch.autograd.graph.saved_tensors_hooks(Kept, lambda kept: kept.tensor):
        take_step(state, [pictures], settings, DISTANCES["l1"](CPU))
    return most


def test_less_is_kept_and_the_estimate_says_so() -> None:
    kept = kept_bytes(**{"train.gradient_checkpointing": True})
    assert kept < 0.6 * kept_bytes()
    whole, less = (
        training_gb(tiny.config(**SIZE, **{"train.gradient_checkpointing": again}), bf16=False)
        for again in (False, True)
    )
    # The one block that is computed again at a time is not among what this counts.
    assert kept / 1e9 < less < 0.7 * whole


def test_a_network_without_such_blocks_refuses() -> None:
    with pytest.raises(
        UserError,
        match=r"gradient_checkpointing can be true only if model\.architecture is fastgan",
    ):
        override(
            RunConfig(),
            {
                "model.architecture": "dcgan",
                "model.resolution": 64,
                "train.gradient_checkpointing": True,
            },
        )
