"""Interpolate spherically between latents, and draw the frames of walks between latents."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import torch
from torch import Tensor

from fastgan_ray.data.channels import as_rgb
from fastgan_ray.data.grid import tiled
from fastgan_ray.latent.video import Frame


def slerp(a_Z: Tensor, b_Z: Tensor, share: float) -> Tensor:
    """Interpolate spherically from `a_Z` (at `share` 0) to `b_Z` (at `share` 1), both (nz,).

    Normally distributed latents lie near a sphere. A straight line passes through the inside of the
    sphere, where latents are unlikely. Parallel, opposite and zero vectors have no unique arc, so
    they are interpolated linearly. Source: Shoemake 1985.
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
    """Return evenly spaced latents (frames, nz) on a path through all stops (latents), in order.

    If `loop` is True, the path returns to the first stop. The last frame is one step before this
    stop, so that a video that repeats shows the stop only once. Raise ValueError for fewer than 2
    stops, or for fewer frames than stops.
    """
    if len(stops_NZ) < 2 or frames < len(stops_NZ):
        raise ValueError(
            "there must be at least 2 stops, and at most as many as frames (got "
            f"{len(stops_NZ)} stops, {frames} frames)"
        )
    path_NZ = torch.cat([stops_NZ, stops_NZ[:1]]) if loop else stops_NZ
    last = len(path_NZ) - 1
    steps = frames if loop else frames - 1
    positions = [index * last / steps for index in range(frames)]
    return torch.stack([_at(path_NZ, position) for position in positions])


def walks(stops_NZ: Tensor, count: int, frames: int, loop: bool = False) -> Tensor:
    """Return the latents (frames * count, nz) of `count` walks, frame by frame.

    The stops are the latents through which the walks go. They are divided into `count` equal parts,
    in order, one for each walk; `frames` and `loop` are as in `walk`.
    """
    parts = torch.chunk(stops_NZ, count)
    return torch.stack([walk(part, frames, loop) for part in parts], dim=1).flatten(0, 1)


def side_by_side(
    batches: Iterator[Tensor], count: int, columns: int, background: str
) -> Iterator[Frame]:
    """Yield frames (H, W, 3) with `count` pictures each, in `columns` columns.

    The pictures come in batches of any size, (B, C, H, W) in [-1, 1]. Videos have no alpha, so
    pictures with alpha are put on the colour `background` (#rrggbb).
    """
    pictures = (picture for batch in batches for picture in as_rgb(batch, background))
    while tiles := list(islice(pictures, count)):
        yield tiled(torch.stack(tiles), columns).permute(1, 2, 0).contiguous().numpy()


def _at(path_NZ: Tensor, position: float) -> Tensor:
    before = min(int(position), len(path_NZ) - 2)
    return slerp(path_NZ[before], path_NZ[before + 1], position - before)
