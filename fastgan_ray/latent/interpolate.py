"""Interpolate spherically between latents, and make video frames of the generated pictures."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import torch
from torch import Tensor

from fastgan_ray.data.channels import as_rgb
from fastgan_ray.data.grid import tiled
from fastgan_ray.latent.video import Frame


def slerp(a_Z: Tensor, b_Z: Tensor, share: float) -> Tensor:
    """Interpolate spherically between the latents `a_Z` and `b_Z`, both (nz,).

    The result is `a_Z` if `share` is 0, and `b_Z` if `share` is 1. Normally distributed latents lie
    near a sphere. A straight line would pass through the inside of the sphere, where latents are
    unlikely. Parallel, opposite and zero vectors are interpolated linearly, because there is no
    unique arc between them. Source: Shoemake 1985.
    """
    a, b = a_Z.double(), b_Z.double()
    norms = a.norm() * b.norm()
    angle = torch.acos(((a @ b) / norms).clamp(-1, 1)) if norms > 0 else torch.zeros(())
    sine = torch.sin(angle)
    if sine < 1e-6:
        mixed = (1 - share) * a + share * b
    else:
        mixed = (torch.sin((1 - share) * angle) * a + torch.sin(share * angle) * b) / sine
    return mixed.to(a_Z.dtype)


def walk(stops_NZ: Tensor, frames: int, loop: bool = False) -> Tensor:
    """Return evenly spaced latents (frames, nz) on a path through the latents `stops_NZ`, in order.

    The path begins at the first stop and ends at the last. If `loop` is True, the path then returns
    to the first stop. In this case, the last latent is one step before the first stop, so that a
    repeating video shows the first stop only once. Raise ValueError if there are fewer than 2
    stops, or more stops than frames.
    """
    if len(stops_NZ) < 2 or frames < len(stops_NZ):
        raise ValueError(
            "the number of stops must be from 2 to the number of frames (got "
            f"{len(stops_NZ)} stops, {frames} frames)"
        )
    path_NZ = torch.cat([stops_NZ, stops_NZ[:1]]) if loop else stops_NZ
    last = len(path_NZ) - 1
    steps = frames if loop else frames - 1
    positions = [index * last / steps for index in range(frames)]
    return torch.stack([_at(path_NZ, position) for position in positions])


def walks(stops_NZ: Tensor, count: int, frames: int, loop: bool = False) -> Tensor:
    """Return the latents (frames * count, nz) of `count` paths that one video shows side by side.

    Rows 0 to `count` - 1 are for the first frame, the next `count` rows for the second frame, and
    so on. `stops_NZ` is divided into `count` equal parts, in order. Each part has the stops of one
    path. `frames` and `loop` have the same meaning as in `walk`.
    """
    parts = torch.chunk(stops_NZ, count)
    return torch.stack([walk(part, frames, loop) for part in parts], dim=1).flatten(0, 1)


def side_by_side(
    batches: Iterator[Tensor], count: int, columns: int, background: str
) -> Iterator[Frame]:
    """Yield video frames, each with the next `count` pictures in `columns` columns.

    Frames are uint8 (height, width, 3). `batches` has the pictures: (B, C, H, W) in [-1, 1], for
    any B. Videos have no alpha, so pictures with alpha are put on the colour `background`
    (#rrggbb).
    """
    pictures = (picture for batch in batches for picture in as_rgb(batch, background))
    while tiles := list(islice(pictures, count)):
        yield tiled(torch.stack(tiles), columns).permute(1, 2, 0).contiguous().numpy()


def _at(path_NZ: Tensor, position: float) -> Tensor:
    before = min(int(position), len(path_NZ) - 2)
    return slerp(path_NZ[before], path_NZ[before + 1], position - before)
