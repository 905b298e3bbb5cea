"""What a training does on every device that there is, against float64 on the CPU.

`make test-gpu` runs these on a machine with a GPU; elsewhere the CPU is the only device.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
import tiny
import torch
from torch import Tensor

from fastgan_ray.augment.pipeline import OPS
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.metrics.extractors import load_extractor
from fastgan_ray.models.kernels import use_kernels
from fastgan_ray.train import checkpoint
from fastgan_ray.train.captured import StepRunner, can_capture, capture_on_cuda
from fastgan_ray.train.device import training_arithmetic, use_bf16
from fastgan_ray.train.draws import draw_step, to_device
from fastgan_ray.train.failures import is_out_of_memory
from fastgan_ray.train.launch import train_together
from fastgan_ray.train.losses import LOSSES
from fastgan_ray.train.perceptual import DISTANCES
from fastgan_ray.train.state import TrainState, new_state
from fastgan_ray.train.step import train_step

CPU = torch.device("cpu")
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
DEVICES += ["mps"] if torch.backends.mps.is_available() else []
on_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
on_two_gpus = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")

# Without noise and dropout, whose generators differ between devices.
EXACT = {"model.g_noise": False, "train.precision": "fp32", "train.batch_size": 4}
CASES: dict[str, dict[str, Any]] = {
    **{f"loss {name}": {"train.loss": name} for name in LOSSES},
    **{f"augment {op}": {"augment.policy": op, "augment.ada_p": 0.5} for op in OPS},
    # With seed 0, a value lies at a kink of an activation: in float32, gradients are .004 off with
    # one thread and 3e-6 with two. With the seeds 1 to 5, they are at most 1.2e-5 off.
    "augment diffusion": {"augment.policy": "diffusion", "augment.ada_p": 0.5, "train.seed": 1},
    "penalties": {"train.r1_gamma": 1.0, "train.r2_gamma": 0.5, "train.r1_interval": 1},
    "adaptive": {"augment.policy": "bgc", "augment.ada_interval": 1, "augment.ada_kimg": 0.01},
    "contrastive": {"model.self_supervision": "ae_contrastive"},
    # The queues are empty in the first of the two turns of D.
    "InsGen": {"model.self_supervision": "insgen", "train.d_steps": 2},
    "FakeCLR": {"model.self_supervision": "ae_fakeclr", "train.d_steps": 2},
    "FreGAN": {
        **{"model.g_wavelet_skips": True, "model.d_high_frequency": True},
        "train.alignment_weight": 1.0,
    },
    "Re-GAN": {"regan.sparsity": 0.5, "regan.warmup_kimg": 0.0, "regan.interval_kimg": 0.006},
    "two steps of D": {"train.d_steps": 2},
    "DCGAN": {"model.architecture": "dcgan", "model.dcgan_depth": 3, "model.dcgan_width": 4},
    "projected": {"model.discriminator": "projected", "model.d_input_px": 64},
    "SNGAN": {"model.architecture": "sngan"},
    "StyleGAN2": {"model.architecture": "stylegan2", "model.ngf": 1, "model.ndf": 1},
}


def settings(**changes: Any) -> RunConfig:
    return tiny.config(**{**EXACT, **changes})


def pictures(config: RunConfig, seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    side, count = config.model.resolution, config.train.batch_size
    turns = range(config.train.d_steps)
    return [torch.rand(count, 3, side, side, generator=generator) * 2 - 1 for _ in turns]


def advance(state: TrainState, config: RunConfig, device: torch.device, steps: int) -> None:
    """Train on pictures that depend on the step alone."""
    dtype, distance = next(state.generator.parameters()).dtype, DISTANCES["l1"](device)
    with training_arithmetic(config):
        for _ in range(steps):
            draws = to_device(draw_step(state, config), device)
            draws = in_float64(draws) if dtype == torch.float64 else draws
            batches = [batch.to(device, dtype) for batch in pictures(config, state.step)]
            train_step(state, draws, batches, config, distance, False)


def in_float64(tree: Any) -> Any:
    """Draws with every fraction in float64."""
    if isinstance(tree, Tensor):
        return tree.double() if tree.is_floating_point() else tree
    if isinstance(tree, dict):
        return {name: in_float64(value) for name, value in tree.items()}
    parts = map(in_float64, tree)
    return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)


def gradients(state: TrainState) -> dict[str, Tensor]:
    """Of both networks, as the step has left them, on the CPU in float64."""
    networks = {"g": state.generator, "d": state.discriminator}
    return {
        f"{name}.{key}": weight.grad.detach().double().cpu()
        for name, network in networks.items()
        for key, weight in network.named_parameters()
        if weight.grad is not None
    }


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("device", DEVICES)
def test_the_gradients_of_a_step_are_those_in_float64(device, name):
    # D hardly moves: Adam takes a whole step by the sign of a gradient of nearly nothing.
    config = settings(**CASES[name], **{"train.lr_d": 1e-12})
    state = new_state(config, 8, torch.device(device))
    advance(state, config, torch.device(device), 1)
    exact = new_state(config, 8, CPU)
    copies = [exact.instances.network] if exact.instances is not None else []
    for network in (exact.generator, exact.discriminator, exact.ema, *copies):
        network.double()
    with use_kernels("reference"):
        advance(exact, config, CPU, 1)
    found, wanted = gradients(state), gradients(exact)
    # Weights that are normalised together have a gradient even if only some of them are used.
    found = {key: value for key, value in found.items() if key in wanted or bool(value.any())}
    assert found.keys() == wanted.keys()
    for key, gradient in wanted.items():
        if gradient.norm() < 1e-12:  # a bias before a batch normalisation, which removes it
            assert found[key].norm() < 1e-5, key
            continue
        scale = gradient.norm().clamp_min(1e-6)
        assert float((found[key] - gradient).norm() / scale) < 2e-3, key


@pytest.mark.parametrize("name", ["loss hinge", "adaptive", "Re-GAN", "penalties", "InsGen"])
@pytest.mark.parametrize("device", DEVICES)
def test_a_resumed_training_is_the_uninterrupted_one(device, name, tmp_path):
    config, there = settings(**CASES[name], **{"model.g_noise": True}), torch.device(device)
    whole = new_state(config, 8, there)
    advance(whole, config, there, 6)
    first = new_state(config, 8, there)
    advance(first, config, there, 3)
    folder = checkpoint.save(tmp_path / "checkpoint", first, config, {"kimg": 0.012})
    second = new_state(config, 8, there)
    checkpoint.restore(folder, second, config)
    advance(second, config, there, 3)
    for key, tensor in whole.generator.state_dict().items():
        if device == "cpu":
            assert torch.equal(second.generator.state_dict()[key], tensor), key
        else:
            torch.testing.assert_close(second.generator.state_dict()[key], tensor)


@pytest.mark.parametrize("device", DEVICES)
def test_a_checkpoint_goes_on_on_another_device(device, tmp_path):
    config = settings(**CASES["adaptive"])
    state = new_state(config, 8, torch.device(device))
    advance(state, config, torch.device(device), 2)
    folder = checkpoint.save(tmp_path / "checkpoint", state, config, {"kimg": 0.008})
    for other in DEVICES:
        resumed = new_state(config, 8, torch.device(other))
        checkpoint.restore(folder, resumed, config)
        advance(resumed, config, torch.device(other), 1)
        assert all(bool(weight.isfinite().all()) for weight in resumed.generator.parameters())


@pytest.mark.parametrize("device", DEVICES)
def test_features_are_those_of_the_cpu(device):
    images = torch.rand(3, 3, 50, 50, generator=torch.Generator().manual_seed(0)) * 255
    found = load_extractor("efficientnet_lite0", torch.device(device))(images)
    torch.testing.assert_close(
        found, load_extractor("efficientnet_lite0", CPU)(images), rtol=1e-3, atol=1e-3
    )


@on_cuda
@pytest.mark.parametrize("name", CASES)
def test_captured_steps_learn_what_ordinary_ones_do(name):
    config, device = settings(**CASES[name], **{"train.precision": "auto"}), torch.device("cuda")
    bf16, moves = use_bf16(config, device), {}
    for kind, capture in (("captured", capture_on_cuda), ("ordinary", None)):
        state = new_state(config, 8, device)
        start = copy.deepcopy(state.generator)
        run = StepRunner(state, config, DISTANCES["l1"](device), bf16, capture)
        assert can_capture(state, config, device)
        with training_arithmetic(config):
            for _ in range(50):
                draws = to_device(draw_step(state, config), device)
                run(draws, [batch.to(device) for batch in pictures(config, state.step)])
        weights = zip(state.generator.parameters(), start.parameters(), strict=True)
        moves[kind] = torch.cat([(now - then).detach().flatten() for now, then in weights])
    apart = (moves["captured"] - moves["ordinary"]).norm()
    assert float(apart / moves["ordinary"].norm()) < 0.3  # bf16 and atomics, over 50 steps


@on_cuda
def test_out_of_memory_is_recognised():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50, dtype=torch.uint8, device="cuda")
    assert is_out_of_memory(caught.value)


@on_two_gpus
def test_two_gpus_train_together(tmp_path):
    (tmp_path / "pictures").mkdir()
    folder = tiny.write_pictures(tmp_path / "pictures", 4)
    config = tiny.config(**{"data.path": str(folder), "resources.workers": 2})
    recorder = tiny.Recorder(tmp_path / "run")
    train_together(config, recorder)
    assert recorder.rows[-1]["kimg"] == pytest.approx(0.016)
