"""From stored pictures to the tensors that networks see."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

Images = np.ndarray[Any, np.dtype[np.uint8]]
# Of a GPU's free memory, so much may hold the pictures; the rest is for the training.
SHARE_OF_FREE_MEMORY = 0.25


def pictures_at(images: Images, indices: Tensor, device: torch.device) -> Tensor:
    """Some of `images` (N, R, R, 3): (B, 3, R, R) float32 in [-1, 1] on `device`."""
    return scaled(torch.from_numpy(images[indices.numpy()]).to(device))


def scaled(pixels_BHWC: Tensor) -> Tensor:
    """Bytes (B, H, W, 3) as float32 (B, 3, H, W) in [-1, 1], where they are."""
    return pixels_BHWC.permute(0, 3, 1, 2).float() / 127.5 - 1


class Pictures:
    """A training's pictures where it can take batches from without a wait.

    On a GPU they lie in its memory as bytes if they take no more than a share of what is free, else
    on the host, from where a batch of bytes is sent. On the CPU they stay in the shared file.
    """

    def __init__(self, images: Images, device: torch.device) -> None:
        self._images, self._device = images, device
        self._stored: Tensor | None = None
        if device.type != "cpu" and images.nbytes <= SHARE_OF_FREE_MEMORY * free_memory(device):
            self._stored = torch.from_numpy(np.array(images)).to(device)

    def batch(self, host_indices: Tensor, indices: Tensor, mirrored: Tensor) -> Tensor:
        """Take pictures, some mirrored (bool, (B,)): (B, 3, R, R) float32 in [-1, 1].

        `host_indices` are on the CPU, `indices` the same and `mirrored` on the device.
        """
        if self._stored is not None:
            pixels = self._stored.index_select(0, indices)
        else:
            pixels = self._sent(torch.from_numpy(self._images[host_indices.numpy()]))
        return scaled(torch.where(mirrored[:, None, None, None], pixels.flip(2), pixels))

    def _sent(self, pixels: Tensor) -> Tensor:
        if self._device.type == "cuda" and torch.cuda.is_available():
            pixels = pixels.pin_memory()
        return pixels.to(self._device, non_blocking=True)


def free_memory(device: torch.device) -> float:
    """Bytes of a GPU's memory that nobody has taken; without limit where it shares the host's."""
    if device.type == "cuda" and torch.cuda.is_available():
        return float(torch.cuda.mem_get_info(device)[0])
    return float("inf")
