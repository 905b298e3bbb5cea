"""Find the latents of given pictures, to see how well a generator can reproduce the pictures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from fastgan_ray.data.grid import save_grid
from fastgan_ray.latent.sample import latent
from fastgan_ray.progress import Track, silently
from fastgan_ray.train.perceptual import Distance

LEARNING_RATE = 0.1
MSE_WEIGHT = 0.2


class Inversion(NamedTuple):
    """The result of `invert`: the latent (nz,) with the lowest loss, its picture and its errors."""

    latent: Tensor
    picture: Tensor
    start: float
    """Perceptual distance between the first latent's picture and the target."""
    distance: float
    """Perceptual distance between the best latent's picture and the target."""
    mse: float
    """Mean squared error of the best latent's picture, for pixel values in [-1, 1]."""


def invert(
    generator: nn.Module,
    target_CHW: Tensor,
    first_Z: Tensor,
    distance: Distance,
    steps: int,
    track: Track = silently,
    label: str = "inverting",
) -> Inversion:
    """Find the latent whose picture is most similar to `target_CHW` (C, H, W) in [-1, 1].

    Adam optimises the latent for `steps` steps, starting at `first_Z` (nz,). The weights of
    `generator`, which must be in eval mode, do not change. The loss is the perceptual distance plus
    0.2 times the mean squared error. `distance(pictures, targets)` returns the perceptual distance.
    `label` names the work for `track`. Source: Liu et al. 2021, where the method is called
    backtracking.
    """
    device = next(generator.parameters()).device
    target_1CHW = target_CHW[None].to(device)
    z_1Z = first_Z[None].to(device).clone().requires_grad_()
    optimizer = torch.optim.Adam([z_1Z], lr=LEARNING_RATE)
    best_loss, best_1Z = float("inf"), z_1Z.detach().clone()
    distances: list[float] = []
    for _ in track(range(steps), label):
        picture = generator(z_1Z)[0]
        perceptual = distance(picture, target_1CHW)
        loss = perceptual + MSE_WEIGHT * F.mse_loss(picture, target_1CHW)
        if loss.item() < best_loss:
            best_loss, best_1Z = loss.item(), z_1Z.detach().clone()
        distances.append(perceptual.item())
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()
    with torch.no_grad():
        picture = generator(best_1Z)[0].clamp(-1, 1)
        best_distance = distance(picture, target_1CHW).item()
        mse = F.mse_loss(picture, target_1CHW).item()
    return Inversion(best_1Z[0].cpu(), picture[0].cpu(), distances[0], best_distance, mse)


def invert_pictures(
    generator: nn.Module,
    nz: int,
    pictures: Mapping[str, Tensor],
    distance: Distance,
    steps: int,
    track: Track = silently,
) -> Iterator[tuple[str, Inversion]]:
    """Invert each picture in `pictures` {name: (C, H, W)}; yield (name, Inversion).

    Each optimisation starts at the latent of seed 0. `nz` is the length of a latent.
    """
    for name, target_CHW in pictures.items():
        first_Z, label = latent(0, nz), f"inverting {name}"
        yield name, invert(generator, target_CHW, first_Z, distance, steps, track, label)


def save_inversions(
    pictures: Mapping[str, Tensor], inversions: Mapping[str, Inversion], folder: Path
) -> None:
    """Write latents.safetensors and grid.png to `folder`.

    `pictures` and `inversions` have the picture names as keys. latents.safetensors maps each name
    to a latent. grid.png shows each picture next to its reproduction.
    """
    latents = {name: inversion.latent for name, inversion in inversions.items()}
    save_file(latents, folder / "latents.safetensors")
    tiles = [tile for name, i in inversions.items() for tile in (pictures[name], i.picture)]
    columns = 2 * math.ceil(math.sqrt(len(inversions) / 2))
    save_grid(torch.stack(tiles), folder / "grid.png", columns=columns)
