"""Files of random weights in the layout of the published ones."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn
from torch_fidelity import FeatureExtractorInceptionV3
from torch_fidelity.feature_extractor_clip import VisionTransformer

from fastgan_ray.metrics.weight_catalog import WEIGHTS


def install(monkeypatch, folder: Path, name: str, save) -> Path:
    """Let `save(path)` write the file `name` into the cache at `folder`, and publish its sha256."""
    path = folder / "weights" / WEIGHTS[name].filename
    path.parent.mkdir(exist_ok=True)
    save(path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setitem(WEIGHTS, name, replace(WEIGHTS[name], sha256=sha256))
    return path


def save_script(module: nn.Module, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        torch.jit.script(module).save(str(path))


class _Means(nn.Module):
    """The means of the colours, repeated, in 2,048 features."""

    def forward(self, images):
        return images.mean(dim=(2, 3)).repeat(1, 683)[:, :2048]


class _Script(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = _Means()
        self.output = nn.Linear(2048, 1008)

    def forward(self, images):
        return self.output(self.layers(images))


def save_inception(path: Path) -> None:
    """NVIDIA's layout: `layers`, whose means are of the pictures' colours, and `output`."""
    torch.manual_seed(0)
    save_script(_Script(), path)


class _Blank(FeatureExtractorInceptionV3):
    def load_state_dict(self, state):
        pass


def save_inception_pytorch(path: Path) -> None:
    """torch-fidelity's network at full size, its convolutions drawn to keep the signal's size."""
    rng = torch.Generator().manual_seed(1)
    torch.save({}, path)
    network = _Blank("inception-v3-compat", ["2048"], str(path))
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=rng)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.bias, std=0.1, generator=rng)
    torch.save(network.state_dict(), path)


def dinov2_shapes(width: int, depth: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes in Meta's file: ViT-B/14 is (768, 12), ViT-L/14 is (1024, 24)."""
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, 1 + 37 * 37, width),
        "mask_token": (1, width),
        "patch_embed.proj.weight": (width, 3, 14, 14),
        "patch_embed.proj.bias": (width,),
        "norm.weight": (width,),
        "norm.bias": (width,),
    }
    layers = {
        "norm1": (width,),
        "attn.qkv": (3 * width, width),
        "attn.proj": (width, width),
        "norm2": (width,),
        "mlp.fc1": (4 * width, width),
        "mlp.fc2": (width, 4 * width),
    }
    for block in range(depth):
        for layer, shape in layers.items():
            shapes[f"blocks.{block}.{layer}.weight"] = shape
            shapes[f"blocks.{block}.{layer}.bias"] = shape[:1]
        shapes |= {f"blocks.{block}.ls{half}.gamma": (width,) for half in (1, 2)}
    return shapes


def dinov2_state(width: int = 128, depth: int = 2) -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(2)
    shapes = dinov2_shapes(width, depth)
    return {key: torch.randn(shape, generator=rng) * 0.1 for key, shape in shapes.items()}


def save_dinov2(path: Path) -> None:
    torch.save(dinov2_state(), path)


class _Tree(nn.Module):
    """Modules and parameters nested as dotted names say."""

    def __init__(self, state: dict[str, torch.Tensor]):
        super().__init__()
        branches: dict[str, dict[str, torch.Tensor]] = {}
        for name, value in state.items():
            first, _, rest = name.partition(".")
            if rest:
                branches.setdefault(first, {})[rest] = value
            else:
                self.register_parameter(name, nn.Parameter(value))
        for name, branch in branches.items():
            self.add_module(name, _Tree(branch))

    def forward(self, images):
        return images


def save_clip(path: Path) -> None:
    """OpenAI's layout of a narrow ViT-B/32 of two layers, with some of the text network."""
    rng = torch.Generator().manual_seed(3)
    visual = VisionTransformer(224, 32, width=128, layers=2, heads=2, output_dim=512)
    shapes = {f"visual.{key}": value.shape for key, value in visual.state_dict().items()}
    shapes |= {
        "text_projection": (512, 512),
        "positional_embedding": (77, 512),
        "logit_scale": (),
        "token_embedding.weight": (10, 512),
        "transformer.resblocks.0.ln_1.weight": (512,),
        "ln_final.weight": (512,),
    }
    state = {key: torch.randn(shape, generator=rng) * 0.1 for key, shape in shapes.items()}
    save_script(_Tree(state), path)


SAVE = {
    "inception": save_inception,
    "inception_pytorch": save_inception_pytorch,
    "dinov2_vitb14": save_dinov2,
    "dinov2_vitl14": save_dinov2,
    "clip_vitb32": save_clip,
}
