"""A walk from latent to latent, picture by picture."""

from __future__ import annotations

import torch
from torch import Tensor


def slerp(a_Z: Tensor, b_Z: Tensor, share: float) -> Tensor:
    """The latent at `share` (0 to 1) of the way from `a_Z` to `b_Z` (nz,), along the sphere.

    Spherical linear interpolation (Shoemake 1985): normal latents lie near a sphere, and a straight
    line would lead through its unlikely inside. Where no arc is given (same or opposite directions,
    or a zero vector) the line is taken.
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


def walk(ends_NZ: Tensor, frames: int, loop: bool = False) -> Tensor:
    """Latents (frames, nz), evenly spaced from the first of `ends_NZ` through all to the last.

    `loop`: on to the first again, whose return is left out, so that a film's end meets its
    beginning. ValueError for fewer than 2 ends or frames than stops.
    """
    stops = torch.cat([ends_NZ, ends_NZ[:1]]) if loop else ends_NZ
    if len(ends_NZ) < 2 or frames < len(ends_NZ):
        raise ValueError(
            f"2 ends at least, and a frame for each, are needed "
            f"(got {len(ends_NZ)} ends, {frames} frames)"
        )
    last = len(stops) - 1
    steps = frames if loop else frames - 1
    places = [index * last / steps for index in range(frames)]
    return torch.stack([_at(stops, place) for place in places])


def _at(stops_NZ: Tensor, place: float) -> Tensor:
    before = min(int(place), len(stops_NZ) - 2)
    return slerp(stops_NZ[before], stops_NZ[before + 1], place - before)
