"""The fast step has the published step's mathematics, and each of its parts the plain part's."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator

import lpips
import pytest
import tiny
import torch
import torch.nn.functional as F
from published import PublishedStep
from steps import draw_turn, take_step
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.models.glu import gated
from fastgan_ray.models.kernels import KERNELS, reference_kernels, use_kernels
from fastgan_ray.models.spectral import spectral_norm
from fastgan_ray.models.upsample import upsample_conv2x
from fastgan_ray.search.cost.memory import COUNTS
from fastgan_ray.train import step, views
from fastgan_ray.train.perceptual import DISTANCES, lpips_distance
from fastgan_ray.train.state import TrainState, new_state

CPU = torch.device("cpu")
L1 = DISTANCES["l1"](CPU)
DOUBLE = torch.float64


@pytest.fixture
def all_digits() -> Iterator[None]:
    """Networks and draws in float64."""
    torch.set_default_dtype(DOUBLE)
    yield
    torch.set_default_dtype(torch.float32)


def both(**changes: object) -> tuple[RunConfig, TrainState, PublishedStep]:
    """Our state and the published step, of the same weights, on the same random streams."""
    settings = tiny.config(**{"augment.policy": "color,translation", **changes})
    state = new_state(settings, 4, CPU)
    return settings, state, PublishedStep(state, settings, L1)


def compare_steps(
    settings: RunConfig, state: TrainState, published: PublishedStep, steps: int, tolerance: float
) -> None:
    """Losses, gradients and weight averages, as shares of each one's size."""
    side = settings.model.resolution
    rng = torch.Generator().manual_seed(0)
    for _ in range(steps):
        pictures = torch.rand(4, 3, side, side, generator=rng) * 2 - 1
        ours, theirs = take_step(state, [pictures], settings, L1), published(pictures)
        for name, loss in theirs.items():
            assert abs(float(ours[name]) - float(loss)) < tolerance * abs(float(loss)), name
        for plain, fast in published.networks(state):
            expected = dict(plain.named_parameters())
            for name, weight in fast.named_parameters():
                # D's of the published step has G's step in it, too: our D takes no part in that.
                if fast is state.generator:
                    close(weight.grad, expected[name].grad, tolerance, name)
                close(weight.detach(), expected[name].detach(), tolerance, name)
        for name, average in state.ema.named_parameters():
            close(average, published.average[name], tolerance, name)


def close(ours: Tensor | None, expected: Tensor | None, tolerance: float, name: str) -> None:
    assert ours is not None and expected is not None
    # Beside nearly nothing (a noise's first gradient), rounding is not small.
    assert (ours - expected).norm() <= tolerance * (expected.norm() + tolerance), name


@pytest.mark.parametrize("kernels", KERNELS)
def test_five_steps_equal_the_published_in_float64(all_digits: None, kernels: str) -> None:
    with use_kernels(kernels):
        compare_steps(*both(), steps=5, tolerance=1e-8)


@pytest.mark.parametrize("side", [32, 64])
def test_the_first_losses_and_gradients_equal_the_published_in_float32(side: int) -> None:
    # D's step is as good as none: Adam makes a whole step of a gradient's sign, which rounding
    # decides where there is hardly any, and G's gradient is taken after it.
    settings, state, published = both(**{"model.resolution": side, "train.lr_d": 1e-12})
    fast = (state.generator, state.discriminator), (state.optimizer_g, state.optimizer_d)
    plain = (published.generator, published.discriminator), published.optimizers
    gradients = [
        [at_the_step(network, optimizer) for network, optimizer in zip(*both_of, strict=True)]
        for both_of in (fast, plain)
    ]
    pictures = torch.rand(4, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1
    losses, expected = take_step(state, [pictures], settings, L1), published(pictures)
    for name, loss in expected.items():
        assert float(losses[name]) == pytest.approx(float(loss), rel=1e-4), name
    for name, ours, theirs in zip("GD", *gradients, strict=True):
        close(joined(ours), joined(theirs), 1e-4, name)


def at_the_step(network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Will hold the gradients by name as they are when the optimiser takes a step."""
    found: dict[str, Tensor] = {}

    def keep(*_: object) -> None:
        for name, weight in network.named_parameters():
            assert weight.grad is not None
            found[name] = weight.grad.clone()

    optimizer.register_step_pre_hook(keep)
    return found


def joined(gradients: dict[str, Tensor]) -> Tensor:
    return torch.cat([gradients[name].flatten() for name in sorted(gradients)])


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_transposed_form_is_the_plain_one(layout: torch.memory_format) -> None:
    rng = torch.Generator().manual_seed(0)
    conv = nn.Conv2d(3, 4, 3, padding=1, bias=False).to(DOUBLE).to(memory_format=layout)
    nn.init.normal_(conv.weight, generator=rng)
    x = torch.randn(1, 3, 128, 128, generator=rng, dtype=DOUBLE).to(memory_format=layout)
    slope = torch.randn(1, 4, 256, 256, generator=rng, dtype=DOUBLE)
    found = []
    for plain in (True, False):
        x = x.detach().requires_grad_()
        with reference_kernels(plain):
            y = upsample_conv2x(x, conv)
        found.append((y, *torch.autograd.grad(y, (x, conv.weight), slope)))
    assert not torch.equal(found[0][0], found[1][0])  # the two forms were taken
    for plain_one, transposed in zip(*found, strict=True):
        torch.testing.assert_close(transposed, plain_one, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("channels", [4, 64])
def test_the_gate_is_pytorchs_and_keeps_the_layout(
    channels: int, layout: torch.memory_format
) -> None:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(2, channels, 5, 3, generator=rng, dtype=DOUBLE).to(memory_format=layout)
    slope = torch.randn(2, channels // 2, 5, 3, generator=rng, dtype=DOUBLE)
    slope = slope.to(memory_format=layout)
    values = [gate(x.requires_grad_()) for gate in (gated, lambda x: F.glu(x, dim=1))]
    torch.testing.assert_close(*values)
    slopes = [torch.autograd.grad(value, x, slope)[0] for value in values]
    torch.testing.assert_close(*slopes)
    assert values[0].is_contiguous(memory_format=layout)
    assert slopes[0].is_contiguous(memory_format=layout)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("make", [nn.Conv2d, nn.ConvTranspose2d])
@pytest.mark.parametrize("kernel", [1, 4])
def test_spectral_norm_is_pytorchs(
    make: type[nn.Conv2d | nn.ConvTranspose2d], kernel: int, layout: torch.memory_format
) -> None:
    rng = torch.Generator().manual_seed(0)
    ours = make(6, 5, kernel, bias=False)
    nn.init.normal_(ours.weight, generator=rng)
    theirs, shape = copy.deepcopy(ours), ours.weight.shape
    spectral_norm(ours, torch.Generator().manual_seed(7))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(7)
        parametrizations.spectral_norm(theirs)
    for training in (True, True, False):
        slope, grads = torch.randn(shape, generator=rng, dtype=DOUBLE), []
        slope = slope.to(memory_format=layout)
        for layer in (ours, theirs):
            layer.to(DOUBLE).to(memory_format=layout).train(training)
            weight = layer.parametrizations.weight.original
            grads.append(torch.autograd.grad((layer.weight * slope).sum(), weight)[0])
        torch.testing.assert_close(grads[0], grads[1], rtol=1e-5, atol=1e-6)
        assert grads[0].is_contiguous(memory_format=layout)
        expected = theirs.state_dict()
        assert list(ours.state_dict()) == list(expected)
        for name, tensor in ours.state_dict().items():
            torch.testing.assert_close(tensor, expected[name], rtol=1e-5, atol=1e-6)


def test_lpips_in_pieces_is_lpips() -> None:
    rng = torch.Generator().manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lpips passes torchvision's retired arguments
        # The smallest of its networks: LPIPS is the same on each.
        network = lpips.LPIPS(net="squeeze", pnet_rand=True, verbose=False)
    for weight in network.net.parameters():  # drawn from the global generator
        nn.init.normal_(weight, 0.0, 0.05, generator=rng)
    pictures = torch.rand(10, 3, 32, 32, generator=rng) * 2 - 1
    targets = torch.rand(5, 3, 32, 32, generator=rng) * 2 - 1
    expected = network(pictures.requires_grad_(), targets.repeat(2, 1, 1, 1)).mean()
    slope = torch.autograd.grad(expected, pictures)[0]
    value = lpips_distance(network, CPU)(pictures, targets)
    found = torch.autograd.grad(value, pictures)[0]
    assert float(value.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    close(found, slope, 1e-4, "pictures")
    with torch.autocast("cpu", torch.bfloat16):
        rough = lpips_distance(network, CPU)(pictures, targets)
    assert float(rough.detach()) == pytest.approx(float(expected.detach()), rel=0.02)


@pytest.mark.parametrize(
    ("side", "aspect", "mode"),
    [(64, "1:1", "rgb"), (128, "1:1", "rgb"), (128, "1:2", "rgba"), (128, "3:4", "grey")],
)
def test_the_estimated_memory_is_what_a_step_keeps(side: int, aspect: str, mode: str) -> None:
    widths = {"model.ngf": 8, "model.ndf": 8, "model.decoder_width": 4}
    shape = {"model.resolution": side, "model.aspect": aspect, "data.mode": mode}
    settings = tiny.config(**widths, **shape)
    state, kept = new_state(settings, 4, CPU), {}
    networks = (state.generator, state.discriminator)
    own = {w.data_ptr() for network in networks for w in network.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if tensor.ndim == 4 and len(tensor) == 4 and storage.data_ptr() not in own:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    pictures = torch.zeros(4, settings.data.channels, *settings.model.size)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        turn = draw_turn(state, settings)
        seen = views.views_of(state, pictures, turn, settings, with_graph=True)
        losses = step.discriminator_loss(state, seen, turn, True, settings, L1)
    _, maps, _ = COUNTS["fastgan"](settings, gradient_checkpointing=False)
    assert sum(size for size, _ in kept.values()) == pytest.approx(4 * 4 * maps, rel=0.25)
    assert losses[0].requires_grad
