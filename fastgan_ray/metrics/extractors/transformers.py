"""Load a vision transformer: DINOv2 (Oquab et al. 2023) or CLIP (Radford et al. 2021)."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_fidelity import FeatureExtractorCLIP
from torchvision.models import VisionTransformer

from fastgan_ray.metrics.extractors.extractor import Extractor
from fastgan_ray.metrics.weight_catalog import WEIGHTS
from fastgan_ray.metrics.weight_files import weights_path

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean, standard deviation in 0..1
_CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
_SIZE = 224
_PATCH = 14
_HEAD = 64  # features per head

# Parts of tensor names: Meta's -> torchvision's; the first match is used.
_TORCHVISION = {
    "cls_token": "class_token",
    "pos_embed": "encoder.pos_embedding",
    "patch_embed.proj": "conv_proj",
    "attn.qkv.": "self_attention.in_proj_",
    "attn.proj": "self_attention.out_proj",
    "mlp.fc1": "mlp.0",
    "mlp.fc2": "mlp.3",
    "norm1": "ln_1",
    "norm2": "ln_2",
    "norm": "encoder.ln",
}


def dinov2_vitb14(device: torch.device) -> Extractor:
    """Load DINOv2 ViT-B/14; its features are the class token (768) at 224 px."""
    return _transformer(
        "dinov2_vitb14", load_dinov2(weights_path("dinov2_vitb14")), _IMAGENET, device
    )


def dinov2_vitl14(device: torch.device) -> Extractor:
    """Load DINOv2 ViT-L/14; its features are the class token (1,024) at 224 px.

    This is the network of FD_DINOv2 (Stein et al. 2023).
    """
    return _transformer(
        "dinov2_vitl14", load_dinov2(weights_path("dinov2_vitl14")), _IMAGENET, device
    )


def clip_vitb32(device: torch.device) -> Extractor:
    """Load CLIP's ViT-B/32 through torch-fidelity; its features are embeddings (512) at 224 px."""
    path = weights_path("clip_vitb32")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning)  # TorchScript is deprecated
        clip = FeatureExtractorCLIP("clip-vit-b-32", ["clip"], str(path))
    return _transformer("clip_vitb32", clip.model.visual, _CLIP, device)


def load_dinov2(path: Path) -> VisionTransformer:
    """Load Meta's DINOv2 file at `path` into a torchvision transformer.

    The transformer returns the class token. Each head of the network must have 64 features, and
    each MLP must be four times as wide as the tokens. B/14 and L/14 are such networks. DINOv2 has a
    factor per channel after each attention and each MLP (LayerScale), but torchvision's transformer
    has none. So this function multiplies the last layer of each attention and MLP by the factor.
    """
    state = torch.load(path, map_location="cpu", weights_only=True)
    del state["mask_token"]  # for training only
    for key in [key for key in state if key.endswith(".gamma")]:
        factor = state.pop(key)
        layer = key.replace("ls1.gamma", "attn.proj").replace("ls2.gamma", "mlp.fc2")
        state[f"{layer}.weight"] = state[f"{layer}.weight"] * factor[:, None]
        state[f"{layer}.bias"] = state[f"{layer}.bias"] * factor
    state["pos_embed"] = _positions(state["pos_embed"])
    width = state["cls_token"].shape[-1]
    depth = sum(key.endswith("norm1.weight") for key in state)
    with torch.device("meta"):  # skip the initialisation of weights
        network = VisionTransformer(_SIZE, _PATCH, depth, width // _HEAD, width, 4 * width)
    network.heads = nn.Sequential()
    network.load_state_dict({_renamed(key): value for key, value in state.items()}, assign=True)
    return network.requires_grad_(False).eval()


def _renamed(key: str) -> str:
    theirs = next(part for part in _TORCHVISION if part in key)
    ours = key.replace(theirs, _TORCHVISION[theirs])
    return ours.replace("blocks.", "encoder.layers.encoder_layer_")


def _positions(positions_1NC: Tensor) -> Tensor:
    """Interpolate the position embeddings (1, N, C) of 518 px for pictures of 224 px.

    The embedding of the class token does not change. The interpolation is the same as in Meta's
    code: bicubic without antialiasing, and 0.1 is added to the number of patches per side to
    compute the scale factor. This addition shifts the sampled positions slightly.
    """
    token, square = positions_1NC[:, :1], positions_1NC[:, 1:]
    side = round(square.shape[1] ** 0.5)
    factor = (_SIZE // _PATCH + 0.1) / side
    grid = square.transpose(1, 2).reshape(1, -1, side, side)
    smaller = F.interpolate(grid, scale_factor=(factor, factor), mode="bicubic")
    return torch.cat([token, smaller.flatten(2).transpose(1, 2)], dim=1)


def _transformer(
    name: str,
    network: nn.Module,
    scale: tuple[tuple[float, ...], tuple[float, ...]],
    device: torch.device,
) -> Extractor:
    network.to(device)
    mean, deviation = (torch.tensor(part, device=device).view(3, 1, 1) * 255 for part in scale)

    def features(images: Tensor) -> Tensor:
        tokens: Tensor = network((images - mean) / deviation)
        return tokens

    return Extractor(name, WEIGHTS[name].sha256, _SIZE, features, device)
