"""Build the decoders, which reconstruct pictures from the features of FastGAN's discriminator."""

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
    """A network that reconstructs a picture from D's features (8x8 if the picture is square)."""

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
        """Reconstruct pictures: (B, c_in, 8, 8) -> (B, C, side, side) in [-1, 1]."""
        return torch.tanh(self.to_image(self.blocks(x_BCHW)))


def decoders(
    make: LayerFactory, config: ModelConfig, channels: dict[int, int], picture_channels: int
) -> nn.ModuleDict:
    """Return the enabled decoders by name; a name says what its decoder reconstructs."""
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
    """Build a new decoder that maps features (B, c_in, 8, 8) to pictures of at most 128 px."""
    make = LayerFactory(rng, spectral=True)
    return Decoder(make, c_in, width, min(128, resolution), picture_channels)


def crop_part(x_BCHW: Tensor, part: int | Tensor) -> Tensor:
    """Crop a part with half of each side of a map: (B, C, H, W) -> (B, C, H/2, W/2).

    Parts 0..3 are the quadrants, row by row, and 4 is the centre. Raises ValueError for another
    number. `part` may also be a scalar tensor on the map's device, for quadrants only. The value of
    such a tensor is not checked, because reading it would wait for the device.
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
