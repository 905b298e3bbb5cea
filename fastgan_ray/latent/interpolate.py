"""Interpolate between latents along the sphere on which they lie."""

from __future__ import annotations

import torch
from torch import Tensor


def slerp(a_Z: Tensor, b_Z: Tensor, share: float) -> Tensor:
    """Interpolate spherically from `a_Z` to `b_Z` (nz,); `share` is 0 to 1.

    Normal latents lie near a sphere, and a straight line would lead through its inside, where
    latents are unlikely (Shoemake 1985). Parallel, opposite and zero vectors have no unique arc:
    they are interpolated linearly.
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
    """Return latents (frames, nz), evenly spaced from the first stop through all to the last.

    `loop`: the walk returns to the first stop; the last frame is the one before it, so that a video
    can repeat. ValueError for fewer than 2 stops, or fewer frames than stops.
    """
    if len(stops_NZ) < 2 or frames < len(stops_NZ):
        raise ValueError(
            f"there must be at least 2 stops and a frame for each "
            f"(got {len(stops_NZ)} stops, {frames} frames)"
        )
    path_NZ = torch.cat([stops_NZ, stops_NZ[:1]]) if loop else stops_NZ
    last = len(path_NZ) - 1
    steps = frames if loop else frames - 1
    positions = [index * last / steps for index in range(frames)]
    return torch.stack([_at(path_NZ, position) for position in positions])


def _at(path_NZ: Tensor, position: float) -> Tensor:
    before = min(int(position), len(path_NZ) - 2)
    return slerp(path_NZ[before], path_NZ[before + 1], position - before)
