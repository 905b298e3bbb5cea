"""Convert pictures of any mode to RGB, for networks that need three colours."""

from __future__ import annotations

import torch
from PIL import ImageColor
from torch import Tensor

WHITE = "#ffffff"


def as_rgb(images_BCHW: Tensor, background: str, white: float = 1.0, black: float = -1.0) -> Tensor:
    """Convert pictures (B, C, H, W) to RGB (B, 3, H, W), with C = 1, 3 or 4.

    `black` and `white` are the values of a black and a white pixel, in the pictures and in the
    result. RGB is returned unchanged, and grey is repeated in three channels. Pictures with alpha
    are blended with the colour `background` (#rrggbb): colour x alpha + background x (1 - alpha).
    The conversion is differentiable and keeps dtype and device.
    """
    channels = images_BCHW.shape[1]
    if channels == 3:
        return images_BCHW
    if channels == 1:
        return images_BCHW.expand(-1, 3, -1, -1)
    assert channels == 4, channels
    alpha = (images_BCHW[:, 3:] - black) / (white - black)
    shades = [black + (white - black) * value / 255 for value in ImageColor.getrgb(background)]
    # Fill the tensor on the device: a copy from the host would wait for the device.
    behind = torch.cat([torch.full_like(alpha, shade) for shade in shades], dim=1)
    return torch.lerp(behind, images_BCHW[:, :3], alpha)
