"""Make batches of training pictures: convert stored bytes to tensors on the device."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

Images = np.ndarray[Any, np.dtype[np.uint8]]
# The pictures may use this fraction of a GPU's free memory. The training needs the rest.
SHARE_OF_FREE_MEMORY = 0.25


def pictures_at(images: Images, indices: Tensor, device: torch.device) -> Tensor:
    """Return the pictures of `images` (N, H, W, C) at `indices` (B,), on `device`.

    The result is (B, C, H, W), float32 in [-1, 1].
    """
    return scaled(torch.from_numpy(images[indices.numpy()]).to(device))


def scaled(pixels_BHWC: Tensor) -> Tensor:
    """Convert bytes (B, H, W, C) to float32 (B, C, H, W) in [-1, 1], on the same device."""
    return pixels_BHWC.permute(0, 3, 1, 2).float() / 127.5 - 1


class Pictures:
    """The pictures of a training, stored as bytes, from which batches are taken.

    The pictures are copied to the GPU if they need at most the fraction SHARE_OF_FREE_MEMORY of its
    free memory. Otherwise they stay in the memory-mapped file that all trials share, and each batch
    is sent to the GPU. A training on the CPU also uses this file.
    """

    def __init__(self, images: Images, device: torch.device) -> None:
        self._images, self._device = images, device
        self._stored: Tensor | None = None
        if device.type != "cpu" and images.nbytes <= SHARE_OF_FREE_MEMORY * free_memory(device):
            self._stored = torch.from_numpy(np.array(images)).to(device)

    def batch(self, host_indices: Tensor, indices: Tensor, mirrored: Tensor) -> Tensor:
        """Return a batch of pictures: (B, C, H, W), float32 in [-1, 1].

        `host_indices` (B,) are the indices of the pictures on the CPU, and `indices` the same
        numbers on the device. `mirrored` (bool, (B,), on the device) is True for the pictures to
        flip from left to right.
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
    """Return the free memory of a CUDA GPU in bytes; return infinity for any other device."""
    if device.type == "cuda" and torch.cuda.is_available():
        return float(torch.cuda.mem_get_info(device)[0])
    return float("inf")
