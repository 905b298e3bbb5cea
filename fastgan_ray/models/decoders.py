"""Build the decoders, which reconstruct pictures from the features of the discriminator."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from fastgan_ray.config.model import ModelConfig
from fastgan_ray.models.blocks import LayerFactory, plain_up

# Side in px -> number of channels, in units of decoder_width.
_DECODER_MULTIPLIERS = {16: 4, 32: 2, 64: 2, 128: 1}
# The top and left edges of each part, as shares of the picture's sides. A part has half of each
# side.
_PART_CORNERS = ((0, 0), (0, 0.5), (0.5, 0), (0.5, 0.5), (0.25, 0.25))


class Decoder(nn.Module):
    """A network that reconstructs a picture, or a part of it, from features of D.

    `c_in` is the number of channels of the features. If pictures are square, the features have 8x8
    px and the reconstruction has `side` x `side` px.
    """

    def __init__(
        self, make: LayerFactory, c_in: int, width: int, side: int, picture_channels: int
    ) -> None:
        super().__init__()
        channels = [
            c_in,
            *(times * width for level, times in _DECODER_MULTIPLIERS.items() if level <= side),
        ]
        self.blocks = nn.Sequential(
            *(plain_up(make, *neighbours) for neighbours in itertools.pairwise(channels))
        )
        self.to_image = make.conv(channels[-1], picture_channels, 3, padding=1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Reconstruct pictures in [-1, 1]: (B, c_in, 8, 8) -> (B, C, side, side)."""
        return torch.tanh(self.to_image(self.blocks(x_BCHW)))


def decoders(
    make: LayerFactory, config: ModelConfig, channels: dict[int, int], picture_channels: int
) -> nn.ModuleDict:
    """Return {name: decoder} with the enabled decoders.

    "full" reconstructs the picture, "part" a part of it, and "small" the small picture. `channels`
    has the numbers of channels of D, see `discriminator_channels`.
    """
    decoder_inputs = {
        "full": channels[16] if config.decode_full else None,
        "part": channels[32] if config.decode_part != "none" else None,
        "small": channels[32] if config.decode_small else None,
    }
    side = min(128, config.resolution)
    return nn.ModuleDict(
        {
            name: Decoder(make, c_in, config.decoder_width, side, picture_channels)
            for name, c_in in decoder_inputs.items()
            if c_in is not None and config.autoencodes
        }
    )


def build_decoder(
    c_in: int, width: int, resolution: int, rng: torch.Generator, picture_channels: int
) -> Decoder:
    """Build a new decoder that maps features (B, c_in, 8, 8) to pictures in [-1, 1].

    The pictures have `resolution` x `resolution` px, but at most 128x128 px. Maps of 128x128 px
    have `width` channels. `rng` draws the initial weights.
    """
    make = LayerFactory(rng, spectral=True)
    return Decoder(make, c_in, width, min(128, resolution), picture_channels)


def crop_part(x_BCHW: Tensor, part: int | Tensor) -> Tensor:
    """Crop a part of half the height and half the width: (B, C, H, W) -> (B, C, H/2, W/2).

    `part` 0 to 3 is a quadrant: top left, top right, bottom left, bottom right. 4 is the centre.
    Raises ValueError for other numbers. `part` may also be a scalar tensor from 0 to 3 on the map's
    device. A tensor's value is not checked, because reading it would wait for the device.
    """
    height, width = x_BCHW.shape[-2:]
    if isinstance(part, Tensor):
        row = column = torch.arange(height // 2, device=x_BCHW.device)
        if width != height:
            column = torch.arange(width // 2, device=x_BCHW.device)
        rows, columns = (part >> 1) * (height // 2) + row, (part & 1) * (width // 2) + column
        return x_BCHW.index_select(2, rows).index_select(3, columns)
    if part not in range(len(_PART_CORNERS)):
        raise ValueError(f"part must be 0..{len(_PART_CORNERS) - 1} (got {part})")
    down, right = _PART_CORNERS[part]
    top, left = int(down * height), int(right * width)
    return x_BCHW[:, :, top : top + height // 2, left : left + width // 2]
