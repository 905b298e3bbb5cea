"""Given pictures back to latents: how near a generator comes to what it did not draw."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from fastgan_ray.config.run_config import DataConfig
from fastgan_ray.data.containers import SUFFIXES, Read, open_container, printable
from fastgan_ray.data.decode import decode, pillow_warnings_off
from fastgan_ray.data.fit import fit_to_square
from fastgan_ray.data.grid import save_grid, to_tensor
from fastgan_ray.errors import UserError
from fastgan_ray.latent.sample import latent
from fastgan_ray.progress import Track, silently
from fastgan_ray.train.perceptual import Distance

_RATE = 0.1
_MSE_WEIGHT = 0.2


class Inversion(NamedTuple):
    """The best latent (nz,) met, its picture (3, R, R), and how far that is from the target."""

    latent: Tensor
    picture: Tensor
    start: float
    """Perceptual distance of the first latent's picture."""
    distance: float
    """Perceptual distance reached."""
    mse: float
    """Mean squared difference reached, of values in [-1, 1]."""


def invert(
    generator: nn.Module,
    target_CHW: Tensor,
    first_Z: Tensor,
    distance: Distance,
    steps: int,
    track: Track = silently,
    doing: str = "inverting",
) -> Inversion:
    """Search from `first_Z` for the latent whose picture is `target_CHW`, in [-1, 1].

    The latent alone is moved, by Adam at .1, down the perceptual distance plus .2 times the mean
    squared difference (Liu et al. 2021, "backtracking"); the generator is in eval mode.
    """
    device = next(generator.parameters()).device
    target_1CHW = target_CHW[None].to(device)
    z_1Z = first_Z[None].to(device).clone().requires_grad_()
    optimizer = torch.optim.Adam([z_1Z], lr=_RATE)
    best = (float("inf"), z_1Z.detach().clone())
    perceived: list[float] = []
    for _ in track(range(steps), doing):
        picture = generator(z_1Z)[0]
        perceptual = distance(picture, target_1CHW)
        loss = perceptual + _MSE_WEIGHT * F.mse_loss(picture, target_1CHW)
        if loss.item() < best[0]:
            best = (loss.item(), z_1Z.detach().clone())
        perceived.append(perceptual.item())
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()
    with torch.no_grad():
        picture = generator(best[1])[0].clamp(-1, 1)
        reached = distance(picture, target_1CHW).item()
        mse = F.mse_loss(picture, target_1CHW).item()
    return Inversion(best[1][0].cpu(), picture[0].cpu(), perceived[0], reached, mse)


def invert_pictures(
    generator: nn.Module,
    nz: int,
    pictures: Mapping[str, Tensor],
    distance: Distance,
    steps: int,
    track: Track = silently,
) -> Iterator[tuple[str, Inversion]]:
    """Each picture's name and inversion as soon as it is found, searched from seed 0's latent."""
    for name, target_CHW in pictures.items():
        first_Z, doing = latent(0, nz), f"inverting {name}"
        yield name, invert(generator, target_CHW, first_Z, distance, steps, track, doing)


def save_inversions(
    pictures: Mapping[str, Tensor], found: Mapping[str, Inversion], folder: Path
) -> None:
    """Write latents.safetensors (by picture's name) and grid.png: each picture, its inversion."""
    save_file({name: each.latent for name, each in found.items()}, folder / "latents.safetensors")
    tiles = [tile for name in found for tile in (pictures[name], found[name].picture)]
    columns = 2 * math.ceil(math.sqrt(len(found) / 2))
    save_grid(torch.stack(tiles), folder / "grid.png", columns=columns)


def read_pictures(path: Path, config: DataConfig, side: int) -> dict[str, Tensor]:
    """By name, the pictures (3, side, side) in [-1, 1] of one file, or of a folder, zip or LMDB.

    Cut, filled and scaled as for training. UserError for what is missing or no picture.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file or folder; a picture or a folder of them is needed")
    names: tuple[str, ...]
    read: Read
    if path.suffix.lower() in SUFFIXES and path.is_file():
        names, read = (path.name,), lambda name: path.read_bytes()
    else:
        names, read = open_container(path)
    if not names:
        raise UserError(f"{path}: contains no pictures")
    return {printable(name): _read(path, name, read, config, side) for name in names}


def _read(path: Path, name: str, read: Read, config: DataConfig, side: int) -> Tensor:
    try:
        with pillow_warnings_off():
            image = decode(read(name), config.background)
    except (UserError, OSError, ValueError) as error:
        raise UserError(f"{path}: {printable(name)}: {error}") from error
    fitted = fit_to_square(image, config.fit, config.background, side)
    return to_tensor(fitted)
