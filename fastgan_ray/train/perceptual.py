"""Distances between decoded pictures and their targets: the mean over a batch, a scalar.

Pictures are (B, 3, H, W) in [-1, 1]. Only the first argument gets a gradient.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastgan_ray.metrics.extractors.efficientnet import load_efficientnet_lite0
from fastgan_ray.metrics.weights import weights_path

Distance = Callable[[Tensor, Tensor], Tensor]


def l1(device: torch.device) -> Distance:
    """Mean absolute difference."""
    return F.l1_loss


def l2(device: torch.device) -> Distance:
    """Mean squared difference."""
    return F.mse_loss


def lpips_vgg(device: torch.device) -> Distance:
    """LPIPS on VGG-16 (Zhang et al. 2018), as published; needs torchvision's VGG weights."""
    state = torch.load(weights_path("vgg16"), map_location="cpu", weights_only=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lpips passes torchvision's retired arguments
        import lpips

        network = lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False)
    own = network.net.state_dict()
    network.net.load_state_dict({key: state["features." + key.split(".", 1)[1]] for key in own})
    network.requires_grad_(False).eval().to(device)

    def distance(picture: Tensor, target: Tensor) -> Tensor:
        return torch.as_tensor(network(picture, target)).mean()

    return distance


def efficientnet_lite0(device: torch.device) -> Distance:
    """LPIPS' rule on the embedded network: unit-normalised features of five depths.

    The squared difference summed over channels, averaged over positions and depths: of LPIPS' size
    (0.7 early, 0.5 later on drawn heads), so that one `reconstruction_weight` serves both.
    """
    network = load_efficientnet_lite0().to(device)

    def distance(picture: Tensor, target: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = _pyramid(network, target)
        pairs = zip(_pyramid(network, picture), wanted, strict=True)
        return torch.stack([(a - b).square().sum(dim=1).mean() for a, b in pairs]).mean()

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


DISTANCES: dict[str, Callable[[torch.device], Distance]] = {
    "lpips_vgg": lpips_vgg,
    "efficientnet_lite0": efficientnet_lite0,
    "l1": l1,
    "l2": l2,
}
