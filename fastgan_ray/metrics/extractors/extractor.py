"""What every feature network is to a metric: a protocol, and a function of pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

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
    # Features (n, d) -> (n, classes) on the CPU, for the Inception score; None: no classifier.
    logits: Callable[[Tensor], Tensor] | None = None

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
