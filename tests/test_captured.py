"""Captured steps, with a capture that only calls the step again: what surrounds a CUDA graph."""

from __future__ import annotations

import pytest
import tiny
import torch
from torch import Tensor

from fastgan_ray.models.kernels import reference_kernels
from fastgan_ray.train import captured
from fastgan_ray.train.captured import StepRunner, can_capture, changing_tensors
from fastgan_ray.train.draws import draw_step, to_device
from fastgan_ray.train.perceptual import DISTANCES
from fastgan_ray.train.state import new_state

CPU = torch.device("cpu")
STEPS = 9
CASES = {
    "default": {},
    "projected": {"model.discriminator": "projected", "model.d_input_px": 64},
    "dcgan": {"model.architecture": "dcgan", "model.dcgan_depth": 3, "model.dcgan_width": 4},
    "sngan": {"model.architecture": "sngan"},
    "stylegan2": {"model.architecture": "stylegan2", "model.ngf": 1, "model.ndf": 1},
    "MixDL": {"train.mixdl_g_weight": 10.0, "model.d_mixdl": True},
    "FreGAN": {
        **{"model.g_wavelet_skips": True, "model.d_high_frequency": True},
        "train.alignment_weight": 1.0,
    },
    "CHAIN": {"model.d_norm": "chain", "train.chain_start_kimg": 0.0},
    "second views": {
        "augment.policy": "color,apa,anda,diffusion",
        "augment.ada_p": 0.5,
        "train.bcr_real_weight": 1.0,
        "train.zcr_g_weight": 0.1,
        "train.top_k": 0.6,
        "train.instance_noise": 0.1,
    },
    "AugSelf-GAN": {"model.self_supervision": "augself", "augment.probability": 0.7},
    "InsGen": {"model.self_supervision": "insgen", "train.insgen_momentum": 0.5},
    "FakeCLR": {"model.self_supervision": "ae_fakeclr", "train.d_steps": 2},
    "lazy penalties": {
        "train.loss": "logistic",
        "train.r1_gamma": 1.0,
        "train.r2_gamma": 0.5,
        "train.r1_interval": 4,
    },
    "regan": {
        "regan.sparsity": 0.5,
        "regan.warmup_kimg": 0.01,
        "regan.interval_kimg": 0.01,
        "regan.dense_lr_factor": 0.5,
    },
    "ada": {"augment.policy": "bgc", "augment.ada_interval": 1, "augment.ada_kimg": 0.01},
    "rampup": {"train.ema_halflife_kimg": 0.01, "train.ema_rampup": 0.5},
    "two steps of D": {"train.d_steps": 2, "model.d_dropout": 0.3},
}


class CallAgain:
    """A capture that keeps the function, and counts how often it is asked."""

    def __init__(self, disturb: float = 0.0, failure: str = "") -> None:
        self.count = 0
        self.disturb = disturb
        self.failure = failure

    def __call__(self, compute, state):
        self.count += 1
        if self.failure:
            raise RuntimeError(self.failure)
        outputs = compute()

        def replay() -> None:
            for name, value in compute().items():
                outputs[name].copy_(value)
            with torch.no_grad():
                for weight in state.generator.parameters():
                    weight.add_(self.disturb)

        return replay, outputs


def run(config, capture) -> tuple[list[dict[str, float]], list[Tensor]]:
    state = new_state(config, 8, CPU)
    step = StepRunner(state, config, DISTANCES["l1"](CPU), False, capture)
    generator = torch.Generator().manual_seed(1)
    side, count = config.model.resolution, config.train.batch_size
    rows = []
    with reference_kernels():
        for _ in range(STEPS):
            draws = to_device(draw_step(state, config), CPU)
            batches = [
                torch.rand(count, 3, side, side, generator=generator) * 2 - 1
                for _ in range(config.train.d_steps)
            ]
            rows.append({name: float(value) for name, value in step(draws, batches).items()})
    return rows, [tensor.clone() for tensor in changing_tensors(state)]


@pytest.mark.parametrize("name", CASES)
def test_captured_steps_are_the_ordinary_ones(name):
    config = tiny.config(**CASES[name])
    capture = CallAgain()
    rows, tensors = run(config, capture)
    expected_rows, expected = run(config, None)
    assert rows == expected_rows
    assert all(torch.equal(a, b) for a, b in zip(tensors, expected, strict=True))
    # With a penalty or not, with MixDL or not; one for each period.
    variants = {"lazy penalties": 2, "MixDL": 2, "regan": 3}
    assert capture.count == variants.get(name, 1)


@pytest.mark.parametrize(
    ("capture", "problem"),
    [
        (CallAgain(failure="operation not permitted when stream is capturing"), "not permitted"),
        (CallAgain(disturb=1e-2), "captured steps? (differs|move)"),
    ],
)
def test_what_cannot_be_captured_is_said_once_and_trained_all_the_same(capture, problem):
    config = tiny.config()
    warning = f"training steps are not captured as CUDA graphs, so they are slower: .*{problem}"
    with pytest.warns(UserWarning, match=warning) as seen:
        rows, tensors = run(config, capture)
    assert len(seen) == 1 and capture.count == 1
    expected_rows, expected = run(config, None)
    assert rows == expected_rows
    assert all(torch.equal(a, b) for a, b in zip(tensors, expected, strict=True))


def test_where_steps_are_captured():
    config, state = tiny.config(), new_state(tiny.config(), 8, CPU)
    assert can_capture(state, config, torch.device("cuda"))
    assert not can_capture(state, config, CPU)
    assert not can_capture(state, tiny.config(**{"train.cuda_graphs": False}), torch.device("cuda"))
    assert captured.WARM_UP_STEPS >= 3  # as CUDA graphs want it
