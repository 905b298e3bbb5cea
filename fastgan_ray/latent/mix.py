"""Style mixing: what one latent lays out, in the look of another."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fastgan_ray.errors import UserError
from fastgan_ray.latent.sample import latents
from fastgan_ray.models import Generator
from fastgan_ray.progress import Track, silently

_BATCH = 16


def require_mixing(generator: nn.Module) -> Generator:
    """The generator, if its features gate one another; UserError if nothing can be mixed."""
    if not isinstance(generator, Generator):
        raise UserError(
            "style mixing needs the skip-layer excitation of model.architecture fastgan; this "
            "generator is of another architecture (dcgan), which has none"
        )
    if not generator.skips:
        raise UserError(
            "style mixing needs skip-layer excitation, but this generator was trained without any "
            "(model.g_sle_4, g_sle_8, g_sle_16 and g_sle_32 are off or lie beyond its resolution)"
        )
    return generator


def mix_grid(
    generator: Generator,
    nz: int,
    rows: Sequence[int],
    columns: Sequence[int],
    truncation: float = 1.0,
    track: Track = silently,
) -> Tensor:
    """Tiles ((1 + rows) * (1 + columns), 3, R, R) in [-1, 1], row by row.

    White, then the columns' own pictures; in each further row the row's own picture, then the
    row's layout with each column's gates.
    """
    device = next(generator.parameters()).device
    styles_CZ = latents(columns, nz, truncation).to(device)
    header_CCHW = _draw(generator, styles_CZ, styles_CZ)
    tiles = [torch.ones_like(header_CCHW[:1]), header_CCHW]
    for content_1Z in track(torch.split(latents(rows, nz, truncation).to(device), 1), "mixing"):
        tiles.append(_draw(generator, content_1Z, content_1Z))
        tiles.append(_draw(generator, content_1Z.expand_as(styles_CZ), styles_CZ))
    return torch.cat(tiles)


@torch.inference_mode()
def _draw(generator: Generator, content_BZ: Tensor, style_BZ: Tensor) -> Tensor:
    return torch.cat(
        [
            generator.mix(content, style)[0].clamp(-1, 1).cpu()
            for content, style in zip(
                torch.split(content_BZ, _BATCH), torch.split(style_BZ, _BATCH), strict=True
            )
        ]
    )
