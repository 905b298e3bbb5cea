"""All weights normalised at once are those of PyTorch's spectral norm, in few operators."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import tiny
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.utils._python_dispatch import TorchDispatchMode

from fastgan_ray.models import build_discriminator, build_generator
from fastgan_ray.models.kernels import KERNELS, NO_LIMIT, use_kernels
from fastgan_ray.models.spectral import spectral_norm
from fastgan_ray.models.spectral_joint import JointSpectralNorm

DOUBLE = torch.float64
# Name: weights up to which size are normalised together, and which of these across shapes.
FORMS = {"batches": (NO_LIMIT, 0), "mixed": (NO_LIMIT, 300), "gathered": (NO_LIMIT, NO_LIMIT)}
FORMS["small ones only"] = (300, 100)


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    joint_up_to, gather_up_to = FORMS[request.param]
    kernels = KERNELS["cpu"]._replace(joint_up_to=joint_up_to, gather_up_to=gather_up_to)
    monkeypatch.setitem(KERNELS, "tested", kernels)
    with use_kernels("tested"):
        yield


def layers() -> nn.ModuleList:
    """Equal and different shapes, kernels and directions; the first sizes share no divisor."""
    rng = torch.Generator().manual_seed(0)
    network = nn.ModuleList(
        [
            nn.Conv2d(3, 5, 3, bias=False),
            nn.Conv2d(6, 5, 4, bias=False),
            nn.ConvTranspose2d(6, 5, 4, bias=False),
            nn.Conv2d(4, 1, 4, bias=False),
            nn.Conv2d(6, 5, 4, bias=False),
            nn.Conv2d(8, 8, 1, bias=False),
            nn.ConvTranspose2d(2, 3, 1, bias=False),
            nn.Conv2d(4, 8, (1, 2), bias=False),
        ]
    )
    for layer in network:
        nn.init.normal_(layer.weight, generator=rng)
    return network


def pair(layout: torch.memory_format) -> tuple[nn.ModuleList, nn.ModuleList]:
    """The same layers under our spectral norm and PyTorch's."""
    ours, theirs = layers(), layers()
    for index, (layer, reference) in enumerate(zip(ours, theirs, strict=True)):
        spectral_norm(layer, torch.Generator().manual_seed(index))
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(index)
            parametrizations.spectral_norm(reference)
    for network in (ours, theirs):
        network.to(DOUBLE).to(memory_format=layout)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_it_is_pytorchs_for_each_weight(layout: torch.memory_format) -> None:
    ours, theirs = pair(layout)
    joint, rng = JointSpectralNorm(ours), torch.Generator().manual_seed(1)
    for training in (True, True, False, True):
        slopes = [torch.randn(x.weight.shape, generator=rng, dtype=DOUBLE) for x in ours.eval()]
        ours.train(training)
        theirs.train(training)
        with joint.normalised():
            weights = [layer.weight for layer in ours]
        expected = [layer.weight for layer in theirs]
        torch.testing.assert_close(weights, expected, rtol=1e-10, atol=1e-12)
        for name, tensor in ours.state_dict().items():
            reference = theirs.state_dict()[name]
            torch.testing.assert_close(tensor, reference, rtol=1e-10, atol=1e-12)
        for network, values in ((ours, weights), (theirs, expected)):
            loss = sum((w * slope).sum() for w, slope in zip(values, slopes, strict=True))
            network.zero_grad()
            torch.as_tensor(loss).backward()
        for (name, weight), reference in zip(
            ours.named_parameters(), theirs.parameters(), strict=True
        ):
            assert weight.grad is not None and reference.grad is not None
            torch.testing.assert_close(weight.grad, reference.grad, rtol=1e-9, atol=1e-11)
            assert weight.grad.stride() == weight.stride(), name


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_all_uses_inside_have_one_value_if_channels_last(layout: torch.memory_format) -> None:
    ours, _ = pair(layout)
    with JointSpectralNorm(ours).normalised():
        same = [layer.weight is layer.weight for layer in ours]
    assert any(same) == (layout == torch.channels_last)
    assert not any(layer.weight is layer.weight for layer in ours)


@pytest.mark.usefixtures("form")
def test_a_weight_without_a_gradient_and_a_frozen_network() -> None:
    ours, theirs = pair(torch.channels_last)
    joint = JointSpectralNorm(ours)
    with joint.normalised():
        ours[1].weight.square().sum().backward()
    theirs[1].weight.square().sum().backward()
    name = "1.parametrizations.weight.original"
    gradients = {name: w.grad for name, w in ours.named_parameters() if w.grad is not None}
    torch.testing.assert_close(gradients.pop(name), theirs.get_parameter(name).grad)
    assert not any(gradient.any() for gradient in gradients.values())
    ours.requires_grad_(False)
    with joint.normalised():
        assert not any(layer.weight.requires_grad for layer in ours)


@pytest.mark.usefixtures("form")
def test_autocast_leaves_it_alone() -> None:
    ours, _ = pair(torch.channels_last)
    ours.float()
    twin = copy.deepcopy(ours)
    with JointSpectralNorm(ours).normalised():
        expected = [layer.weight for layer in ours]
    with torch.autocast("cpu", torch.bfloat16), JointSpectralNorm(twin).normalised():
        assert all(
            torch.equal(layer.weight, weight) for layer, weight in zip(twin, expected, strict=True)
        )


@pytest.mark.usefixtures("form")
def test_a_copied_network_normalises_its_own_weights() -> None:
    generator = build_generator(tiny.config().model).to(memory_format=torch.channels_last)
    z_BZ = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    generator(z_BZ)
    before = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    twin = copy.deepcopy(generator)
    expected = twin(z_BZ)[0]
    for name, tensor in generator.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert any(not torch.equal(tensor, before[n]) for n, tensor in twin.state_dict().items())
    assert torch.equal(generator(z_BZ)[0], expected)


class Counter(TorchDispatchMode):
    """Counts the operators that compute something."""

    VIEWS = ("view", "as_strided", "slice", "transpose", "permute", "expand", "unsqueeze")
    VIEWS += ("split", "split_with_sizes", "detach", "_unsafe_view", "alias", "select", "t")

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.count += func.overloadpacket.__name__ not in self.VIEWS
        return func(*args, **(kwargs or {}))


def operators(network: nn.Module, kernels: str) -> int:
    """How many take one use of each weight, forward and backward."""
    used = [layer for layer in network.modules() if hasattr(layer, "parametrizations")]
    joint = JointSpectralNorm(network)
    with use_kernels(kernels), joint.normalised():  # makes the indices
        slopes = [torch.ones_like(layer.weight) for layer in used]
    with use_kernels(kernels), Counter() as counter:
        with joint.normalised():
            weights: list[Tensor] = [layer.weight for layer in used]
        torch.autograd.grad(weights, list(network.parameters()), slopes, allow_unused=True)
    return counter.count


def test_a_gpu_launches_a_tenth_of_the_operators() -> None:
    settings = tiny.config(**{"model.resolution": 256, "model.ngf": 16, "model.ndf": 16}).model
    totals = {"cuda": 0, "reference": 0}
    for network in (build_generator(settings), build_discriminator(settings)):
        network.to(memory_format=torch.channels_last)
        for kernels in totals:
            totals[kernels] += operators(network, kernels)
    assert 10 * totals["cuda"] < totals["reference"]
