"""Mix styles: generate pictures with the layout of one latent and the style of another."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fastgan_ray.config.model import ModelConfig
from fastgan_ray.errors import UserError
from fastgan_ray.latent.sample import BATCH, latents
from fastgan_ray.models import Generator
from fastgan_ray.models.stylegan2 import StyleGan2Generator
from fastgan_ray.progress import Track, silently

MixingGenerator = Generator | StyleGan2Generator


def require_mixing(generator: nn.Module) -> MixingGenerator:
    """Return `generator`; raise UserError if its architecture cannot mix styles."""
    if isinstance(generator, StyleGan2Generator):
        return generator
    if not isinstance(generator, Generator):
        config: ModelConfig = generator.config  # type: ignore[assignment]  # every network has it
        raise UserError(
            "style mixing needs model.architecture fastgan (with skip-layer excitation) or "
            f"stylegan2 (got {config.architecture})"
        )
    if not generator.skips:
        raise UserError(
            "style mixing needs skip-layer excitation, but this generator has none: each of "
            "model.g_sle_4, g_sle_8, g_sle_16 and g_sle_32 is off or needs a higher resolution"
        )
    return generator


def mix_grid(
    generator: MixingGenerator,
    nz: int,
    rows: Sequence[int],
    columns: Sequence[int],
    truncation: float = 1.0,
    track: Track = silently,
) -> Tensor:
    """Draw the tiles of a mixing grid, row by row: (tiles, C, H, W) in [-1, 1].

    `rows` and `columns` have one seed for each row and column. The first row of the grid has a
    white tile, and then the picture of each column's seed. Every other row has the picture of its
    own seed, and then, for each column, a picture with the layout of the row's seed and the style
    of the column's seed.
    """
    device = next(generator.parameters()).device
    styles_CZ = latents(columns, nz, truncation).to(device)
    header_CCHW = _draw(generator, styles_CZ, styles_CZ)
    tiles = [torch.ones_like(header_CCHW[:1]), header_CCHW]
    for layout_1Z in track(torch.split(latents(rows, nz, truncation).to(device), 1), "mixing"):
        tiles.append(_draw(generator, layout_1Z, layout_1Z))
        tiles.append(_draw(generator, layout_1Z.expand_as(styles_CZ), styles_CZ))
    return torch.cat(tiles)


@torch.inference_mode()
def _draw(generator: MixingGenerator, layout_BZ: Tensor, style_BZ: Tensor) -> Tensor:
    batches = zip(torch.split(layout_BZ, BATCH), torch.split(style_BZ, BATCH), strict=True)
    pictures = [generator.mix(layout, style)[0].clamp(-1, 1).cpu() for layout, style in batches]
    return torch.cat(pictures)
