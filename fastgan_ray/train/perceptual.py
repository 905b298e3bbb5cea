"""Distances between decoded pictures and their targets: the mean over a batch, a scalar.

Pictures are (kB, 3, H, W) and targets (B, 3, H, W) in [-1, 1]: k groups of pictures, each compared
with all targets in order. Only the pictures get a gradient.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from fastgan_ray.metrics.extractors.efficientnet import load_efficientnet_lite0
from fastgan_ray.metrics.weight_files import weights_path

Distance = Callable[[Tensor, Tensor], Tensor]
# So many targets at a time go through VGG: their features stay in a CPU's cache, and no more than
# theirs is kept for the way back.
_LPIPS_TARGETS = {"cpu": 4}


def l1(device: torch.device) -> Distance:
    """Mean absolute difference."""
    return lambda pictures, targets: F.l1_loss(pictures, _repeated(targets, pictures))


def l2(device: torch.device) -> Distance:
    """Mean squared difference."""
    return lambda pictures, targets: F.mse_loss(pictures, _repeated(targets, pictures))


def lpips_vgg(device: torch.device) -> Distance:
    """LPIPS on VGG-16 (Zhang et al. 2018), as published; needs torchvision's VGG weights."""
    state = torch.load(weights_path("vgg16"), map_location="cpu", weights_only=True)
    network = lpips_network()
    own = network.net.state_dict()
    network.net.load_state_dict({key: state["features." + key.split(".", 1)[1]] for key in own})
    return lpips_distance(network, device)


def lpips_network() -> Any:  # noqa: ANN401 - of lpips, which has no types
    """The network of LPIPS with its published linear layers, VGG's weights drawn."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lpips passes torchvision's retired arguments
        import lpips

        return lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False)


def lpips_distance(network: Any, device: torch.device) -> Distance:  # noqa: ANN401
    """The mean of what a network of LPIPS says, a few targets at a time.

    The gradient is made at once with the value, so that nothing is kept until the backward pass;
    targets have no graph, and are looked at once for all groups.
    """
    network = network.requires_grad_(False).eval()
    network = network.to(device, memory_format=torch.channels_last)
    networks = {torch.float32: network}

    def distance(pictures: Tensor, targets: Tensor) -> Tensor:
        kind = device.type
        low = torch.is_autocast_enabled(kind)
        dtype = torch.get_autocast_dtype(kind) if low else pictures.dtype
        if dtype not in networks:  # else autocast would cast the weights at every look
            networks[dtype] = copy.deepcopy(network).to(dtype)
        with torch.autocast(kind, enabled=False):
            value, gradient = _lpips(
                networks[dtype], pictures.detach().to(dtype), targets.to(dtype)
            )
        attached: Tensor = _Ready.apply(pictures, value, gradient)
        return attached

    return distance


def _lpips(network: Any, pictures: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ANN401
    """The mean distance and its gradient."""
    groups = pictures.view(-1, len(targets), *pictures.shape[1:])
    at_once = _LPIPS_TARGETS.get(pictures.device.type, len(targets))
    gradient = torch.empty_like(groups)
    precise = torch.promote_types(pictures.dtype, torch.float32)
    total = torch.zeros((), dtype=precise, device=pictures.device)
    for start in range(0, len(targets), at_once):
        some = slice(start, start + at_once)
        with torch.no_grad():
            wanted = _vgg_features(network, targets[some])
        for group, into in zip(groups, gradient, strict=True):
            leaf = group[some].clone().requires_grad_()
            with torch.enable_grad():
                levels = zip(_vgg_features(network, leaf), wanted, strict=True)
                errors = [F.mse_loss(a, b, reduction="none") for a, b in levels]
                # A picture's distance is the sum over channels, the mean over positions, the sum
                # over depths.
                error = torch.stack([e.sum(dtype=precise) / e[0, 0].numel() for e in errors])
                mean = error.sum() / len(pictures)
                torch.autograd.backward(mean)
            assert leaf.grad is not None
            into[some] = leaf.grad
            total += mean.detach()
    return total, gradient.flatten(0, 1)


def _vgg_features(network: Any, images: Tensor) -> list[Tensor]:  # noqa: ANN401
    """Features of five depths, of unit length, times the roots of LPIPS' channel weights."""
    images = network.scaling_layer(images).contiguous(memory_format=torch.channels_last)
    found = []
    for features, linear in zip(network.net(images), network.lins, strict=True):
        length = torch.linalg.vector_norm(features, dim=1, keepdim=True) + 1e-10
        found.append(features / length * linear.model[-1].weight.sqrt())
    return found


class _Ready(torch.autograd.Function):
    """A value whose gradient with respect to the pictures is known."""

    @staticmethod
    def forward(ctx: Any, pictures: Tensor, value: Tensor, gradient: Tensor) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(gradient.to(pictures.dtype))
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        (gradient,) = ctx.saved_tensors
        return gradient * above.to(gradient.dtype), None, None


def efficientnet_lite0(device: torch.device) -> Distance:
    """LPIPS' rule on the embedded network: unit-normalised features of five depths.

    The squared difference summed over channels, averaged over positions and depths: of LPIPS' size
    (0.7 early, 0.5 later on drawn heads), so that one `reconstruction_weight` serves both.
    """
    network = load_efficientnet_lite0().to(device)

    def distance(pictures: Tensor, targets: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = _pyramid(network, targets)
        pairs = zip(_pyramid(network, pictures), wanted, strict=True)
        errors = [(a - _repeated(b, a)).square().sum(dim=1).mean() for a, b in pairs]
        return torch.stack(errors).mean()

    return distance


def _pyramid(network: nn.Module, images: Tensor) -> list[Tensor]:
    """The last features before each halving of the picture, and the last of all."""
    stem, norm, blocks = (getattr(network, name) for name in ("_conv_stem", "_bn0", "_blocks"))
    features = F.relu6(norm(stem(images * (127.5 / 128))))
    levels = [features]
    for block in blocks:
        features = block(features)
        if features.shape[-1] == levels[-1].shape[-1]:
            levels[-1] = features
        else:
            levels.append(features)
    return [F.normalize(level.float(), dim=1, eps=1e-6) for level in levels]


def _repeated(targets: Tensor, pictures: Tensor) -> Tensor:
    """A target for each picture, groups one after another."""
    groups = len(pictures) // len(targets)
    return targets if groups == 1 else targets.repeat(groups, 1, 1, 1)


DISTANCES: dict[str, Callable[[torch.device], Distance]] = {
    "lpips_vgg": lpips_vgg,
    "efficientnet_lite0": efficientnet_lite0,
    "l1": l1,
    "l2": l2,
}
