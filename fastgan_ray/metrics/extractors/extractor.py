"""The class of feature networks: it prepares pictures and computes their features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan_ray.arithmetic import ieee_float32
from fastgan_ray.data.channels import WHITE, as_rgb

# Batches of 4 fit into a CPU's caches: 54 images/s per core, but only 29 in batches of 16.
_CPU_CHUNK = 4


@dataclass(frozen=True)
class Extractor:
    """A feature network, and how pictures are prepared for it. Call it on pictures to get features.

    The network needs three colours and a square input. A grey picture is repeated in three
    channels. A picture with alpha is put on the colour `background`, and rounded as in a file. A
    picture that is not square is resized to a square, which changes its proportions. The network
    computes in full float32 precision, even within autocast. The batch size changes features only
    by rounding.
    """

    name: str
    weights_sha256: str
    size: int  # side of the network's input in pixels
    network: Callable[[Tensor], Tensor]  # (B, 3, size, size) in 0..255 -> (B, d)
    device: torch.device
    # Features (n, d) -> (n, classes) on the CPU, for the Inception score; None: no classifier.
    logits: Callable[[Tensor], Tensor] | None = None
    background: str = WHITE
    picture_px: int | None = None  # if not None, pictures are first resized to this side

    @property
    def resize(self) -> str:
        """Return a text that says how pictures are resized, e.g. "bicubic-antialiased-299"."""
        first = "" if self.picture_px is None else f"{self.picture_px}-then-"
        return f"bicubic-antialiased-{first}{self.size}"

    def prepare(self, images_BCHW: Tensor) -> Tensor:
        """Resize float pictures (0 to 255) to the network's input: (B, C, H, W) -> (B, 3, S, S).

        The filter is Pillow's bicubic filter, on float channels. Resized values are clamped, but
        not rounded. This is the same as in clean-fid's mode "clean". If `picture_px` is set,
        pictures are first resized to this width and height.
        """
        if images_BCHW.shape[1] != 3:
            images_BCHW = as_rgb(images_BCHW.float(), self.background, 255.0, 0.0).round()
        if self.picture_px is not None:
            images_BCHW = _resized(images_BCHW, self.picture_px)
        return _resized(images_BCHW, self.size)

    @torch.inference_mode()
    def __call__(self, images_BCHW: Tensor) -> Tensor:
        """Compute the features (B, d) of pictures (B, C, H, W) with values from 0 to 255.

        The features are float32, on the extractor's device.
        """
        return self._features(images_BCHW, self.prepare)

    @torch.inference_mode()
    def of_prepared(self, inputs_BCHW: Tensor) -> Tensor:
        """Compute the features (B, d) of results of `prepare`, without preparing them again."""
        return self._features(inputs_BCHW, lambda part: part)

    def _features(self, images_BCHW: Tensor, prepare: Callable[[Tensor], Tensor]) -> Tensor:
        # With TF32 the metrics would depend on the type of GPU.
        with torch.autocast(self.device.type, enabled=False), ieee_float32():
            chunk = _CPU_CHUNK if self.device.type == "cpu" else max(len(images_BCHW), 1)
            parts = [
                self.network(prepare(part.to(self.device))).float()
                for part in torch.split(images_BCHW, chunk)
            ]
        return torch.cat(parts)


def _resized(images_BCHW: Tensor, side: int) -> Tensor:
    if images_BCHW.shape[-2:] == (side, side):
        return images_BCHW
    size = (side, side)
    resized = F.interpolate(images_BCHW.float(), size=size, mode="bicubic", antialias=True)
    return resized.clamp(0, 255)
