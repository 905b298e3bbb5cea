"""The distances of the reconstruction loss (DISTANCES): LPIPS, EfficientNet, L1, L2.

Targets are (B, C, H, W) and pictures (kB, C, H, W), in [-1, 1]. The pictures are k groups of B: in
each group, picture i is compared with target i. Only the pictures get a gradient. The distances
`l1` and `l2` compare all channels. The other distances use networks that see three colours (see
`load_distance`).
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from fastgan_ray.arithmetic import ieee_float32
from fastgan_ray.data.channels import WHITE, as_rgb
from fastgan_ray.metrics.weight_files import weights_path
from fastgan_ray.pretrained.efficientnet import load_efficientnet

Distance = Callable[[Tensor, Tensor], Tensor]
Embedding = Callable[[Tensor], Tensor]
# The number of targets that VGG processes at a time, by type of device (other types: all). The
# features of so few targets fit into a CPU's cache.
_LPIPS_TARGETS = {"cpu": 4}
# The smallest side, in pixels, that all layers of EfficientNet-Lite0 can process.
_SMALLEST_SIDE = 32
_PYRAMID_DEPTHS = 5


def load_distance(name: str, device: torch.device, background: str = WHITE) -> Distance:
    """Load the distance `name`, a key of DISTANCES, for pictures with 1, 3 or 4 channels.

    Feature networks need three colours. So a grey picture is repeated in three channels, and a
    picture with alpha is composited on the colour `background` (#rrggbb). The network then cannot
    see the alpha of pixels that have the colour of the background. Therefore the mean absolute
    difference of alpha is added to the distance.
    """
    distance = DISTANCES[name](device)
    return partial(_seen_as_rgb, distance, background) if name in NETWORKS else distance


def _seen_as_rgb(distance: Distance, background: str, pictures: Tensor, targets: Tensor) -> Tensor:
    error = distance(as_rgb(pictures, background), as_rgb(targets, background))
    if targets.shape[1] == 4:
        error = error + l1(targets.device)(pictures[:, 3:], targets[:, 3:])
    return error


def load_embedding(name: str, device: torch.device, background: str = WHITE) -> Embedding:
    """Load a function that maps pictures (B, C, H, W) in [-1, 1] to vectors (B, d).

    `name` is one of NETWORKS. The squared Euclidean distance of two vectors is the distance `name`
    of the two pictures. The vectors are float32 on the device. They are long: with LPIPS, a picture
    of 256 px has 8 million numbers.
    """
    if name == "lpips_vgg":
        network = _published_lpips().requires_grad_(False).eval().to(device)
        return partial(_embedded, partial(_vgg_features, network), 1, device, background)
    pyramid = partial(_pyramid, load_efficientnet("efficientnet_lite0").to(device))
    return partial(_embedded, pyramid, _PYRAMID_DEPTHS, device, background)


@torch.inference_mode()
def _embedded(
    features: Callable[[Tensor], list[Tensor]],
    divisor: int,
    device: torch.device,
    background: str,
    pictures: Tensor,
) -> Tensor:
    """Join the features of all depths to one vector for each picture: (B, d).

    `features` returns one map (B, c, h, w) for each depth. The squared distance of two pictures at
    a depth is summed over channels and averaged over positions. The squared distance of two vectors
    is the sum of these distances over the depths, divided by `divisor`.
    """
    with torch.autocast(device.type, enabled=False), ieee_float32():
        depths = features(as_rgb(pictures.float(), background).to(device))
        scaled = [depth / (divisor * depth[0, 0].numel()) ** 0.5 for depth in depths]
    return torch.cat([depth.flatten(1) for depth in scaled], dim=1)


def l1(device: torch.device) -> Distance:
    """Return a function that computes the mean absolute difference of pictures and targets."""
    return lambda pictures, targets: F.l1_loss(pictures, _repeated(targets, pictures))


def l2(device: torch.device) -> Distance:
    """Return a function that computes the mean squared difference of pictures and targets."""
    return lambda pictures, targets: F.mse_loss(pictures, _repeated(targets, pictures))


def lpips_vgg(device: torch.device) -> Distance:
    """Return the published LPIPS distance on VGG-16 (Zhang et al. 2018).

    It needs the weights of VGG-16 from torchvision.
    """
    return lpips_distance(_published_lpips(), device)


def _published_lpips() -> Any:  # noqa: ANN401 - lpips has no types
    state = torch.load(weights_path("vgg16"), map_location="cpu", weights_only=True)
    network = lpips_network()
    keys = network.net.state_dict()
    network.net.load_state_dict({key: state["features." + key.split(".", 1)[1]] for key in keys})
    return network


def lpips_network() -> Any:  # noqa: ANN401 - lpips has no types
    """Build LPIPS' network with the published linear layers, on a VGG-16 with random weights."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lpips passes deprecated arguments to torchvision
        import lpips

        return lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False)


def lpips_distance(network: Any, device: torch.device) -> Distance:  # noqa: ANN401
    """Return a function that computes the mean LPIPS distance, a few targets at a time.

    The function does not use the `forward` of the package lpips. It computes the gradient together
    with the value, so it stores no feature maps for the backward pass. It computes the features of
    each target only once, even if k groups of pictures are compared with the targets.
    """
    network = network.requires_grad_(False).eval()
    network = network.to(device, memory_format=torch.channels_last)
    networks = {torch.float32: network}

    def distance(pictures: Tensor, targets: Tensor) -> Tensor:
        kind = device.type
        autocast = torch.is_autocast_enabled(kind)
        dtype = torch.get_autocast_dtype(kind) if autocast else pictures.dtype
        if dtype not in networks:  # without a copy, autocast would cast at every use
            networks[dtype] = copy.deepcopy(network).to(dtype)
        with torch.autocast(kind, enabled=False):
            value, gradient = _lpips(
                networks[dtype], pictures.detach().to(dtype), targets.to(dtype)
            )
        attached: Tensor = _KnownGradient.apply(pictures, value, gradient)
        return attached

    return distance


def _lpips(network: Any, pictures: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ANN401
    """Compute the mean LPIPS distance, a scalar, and its gradient with respect to `pictures`.

    `pictures` and the gradient are (kB, 3, H, W), `targets` (B, 3, H, W).
    """
    groups = pictures.view(-1, len(targets), *pictures.shape[1:])
    count = _LPIPS_TARGETS.get(pictures.device.type, len(targets))
    gradient = torch.empty_like(groups)
    precise = torch.promote_types(pictures.dtype, torch.float32)
    total = torch.zeros((), dtype=precise, device=pictures.device)
    for start in range(0, len(targets), count):
        part = slice(start, start + count)
        with torch.no_grad():
            expected = _vgg_features(network, targets[part])
        for group, group_gradient in zip(groups, gradient, strict=True):
            leaf = group[part].clone().requires_grad_()
            with torch.enable_grad():
                depths = zip(_vgg_features(network, leaf), expected, strict=True)
                errors = [F.mse_loss(a, b, reduction="none") for a, b in depths]
                # A picture's distance: sum over channels, mean over positions, sum over depths.
                error = torch.stack([e.sum(dtype=precise) / e[0, 0].numel() for e in errors])
                mean = error.sum() / len(pictures)
                torch.autograd.backward(mean)
            assert leaf.grad is not None
            group_gradient[part] = leaf.grad
            total += mean.detach()
    return total, gradient.flatten(0, 1)


def _vgg_features(network: Any, images: Tensor) -> list[Tensor]:  # noqa: ANN401
    """Compute features of `images` (B, 3, H, W) at five depths of the network.

    Each feature vector is scaled to length 1. Then it is multiplied by the square roots of LPIPS'
    channel weights. So the squared distance of two such vectors is the LPIPS distance at their
    position and depth.
    """
    images = network.scaling_layer(images).contiguous(memory_format=torch.channels_last)
    depths = []
    for features, linear in zip(network.net(images), network.lins, strict=True):
        length = torch.linalg.vector_norm(features, dim=1, keepdim=True) + 1e-10
        depths.append(features / length * linear.model[-1].weight.sqrt())
    return depths


class _KnownGradient(torch.autograd.Function):
    """An autograd function that returns `value`; in the backward pass, it uses a known gradient.

    `gradient` is the gradient of `value` with respect to `pictures`.
    """

    @staticmethod
    def forward(ctx: Any, pictures: Tensor, value: Tensor, gradient: Tensor) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(gradient.to(pictures.dtype))
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        (gradient,) = ctx.saved_tensors
        return gradient * upstream.to(gradient.dtype), None, None


def efficientnet_lite0(device: torch.device) -> Distance:
    """Return a distance function like LPIPS, but with EfficientNet-Lite0 instead of VGG-16.

    The features of five depths are scaled to length 1. Their squared difference is summed over
    channels and averaged over positions and depths. The distance is about as large as LPIPS, so the
    same `reconstruction_weight` can be used for both. (Between decoded pictures and targets it is
    0.7 at the start of a training, and 0.5 later.)
    """
    network = load_efficientnet("efficientnet_lite0").to(device)

    def distance(pictures: Tensor, targets: Tensor) -> Tensor:
        with torch.no_grad():
            expected = _pyramid(network, targets)
        pairs = zip(_pyramid(network, pictures), expected, strict=True)
        errors = [(a - _repeated(b, a)).square().sum(dim=1).mean() for a, b in pairs]
        return torch.stack(errors).mean()

    return distance


def _pyramid(network: nn.Module, images: Tensor) -> list[Tensor]:
    """Compute features of `images` (B, 3, H, W) at five depths of the network.

    The network has several blocks for each size of its maps. The features at a depth are the output
    of the last block of one size. Each feature vector is scaled to length 1. If a side of the
    images is less than 32 px, the images are first enlarged to twice the size.
    """
    if min(images.shape[-2:]) < _SMALLEST_SIDE:
        images = F.interpolate(images, scale_factor=2)
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
    """Repeat `targets` (B, C, H, W) k times, for `pictures` (kB, C, H, W)."""
    groups = len(pictures) // len(targets)
    return targets if groups == 1 else targets.repeat(groups, 1, 1, 1)


DISTANCES: dict[str, Callable[[torch.device], Distance]] = {
    "lpips_vgg": lpips_vgg,
    "efficientnet_lite0": efficientnet_lite0,
    "l1": l1,
    "l2": l2,
}
# The distances whose networks see only colours.
NETWORKS = ("lpips_vgg", "efficientnet_lite0")
