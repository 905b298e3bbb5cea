"""From stored pictures to the tensors that networks see."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor


def pictures_at(
    images: np.ndarray[Any, np.dtype[np.uint8]], indices: Tensor, device: torch.device
) -> Tensor:
    """Some of `images` (N, R, R, 3): (B, 3, R, R) float32 in [-1, 1] on `device`."""
    pictures = torch.from_numpy(images[indices.numpy()]).permute(0, 3, 1, 2)
    return pictures.to(device, torch.float32) / 127.5 - 1
