"""Apply affine maps to pictures; move square pictures exactly if all pixels map to pixels.

A map is given by its inverse: a matrix (B, 3, 3) in float64, on the pictures' device, that maps a
position in the changed picture to the position in the original. The x axis points right and the y
axis points down. Both axes of every picture go from -1 to 1, so the matrix of a rotation depends on
the picture's proportions. Beyond its edges, a picture is mirrored (d c b a | a b c d | d c b a).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan_ray.arithmetic import at_least_float32

Size = tuple[int, int]  # height, width in pixels
SQUARE = (1, 1)
_PIXEL_TOLERANCE = 1e-6


def wide(device: torch.device) -> torch.dtype:
    """Return the most precise float type of `device`: float64, or float32 on Apple's GPUs."""
    return torch.float32 if device.type == "mps" else torch.float64


def affine(a: Tensor, b: Tensor, c: Tensor, d: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Return the matrices [[a, b, x], [c, d, y], [0, 0, 1]] of six vectors (B,): (B, 3, 3)."""
    zero, one = torch.zeros_like(a), torch.ones_like(a)
    matrix = torch.stack([a, b, x, c, d, y, zero, zero, one], dim=1).reshape(-1, 3, 3)
    return matrix.to(wide(a.device))


def unscale(x: Tensor, y: Tensor) -> Tensor:
    """Return the matrices (B, 3, 3) that undo scaling by the factors `x` and `y`, (B,) each.

    The factor -1 mirrors a picture.
    """
    zero = torch.zeros_like(x)
    return affine(1 / x, zero, zero, 1 / y, zero, zero)


def unrotate(angle: Tensor, size: Size = SQUARE) -> Tensor:
    """Return the matrices (B, 3, 3) that undo a clockwise rotation by `angle` (B,) in radians.

    `size` is the height and width of the pictures.
    """
    return _unturn(angle.cos(), angle.sin(), size)


def unquarter(turns: Tensor, size: Size = SQUARE) -> Tensor:
    """Return the matrices (B, 3, 3) that undo clockwise quarter turns, without rounding errors.

    `turns` (B,) is the number of quarter turns, 0 to 3. `size` is the height and width of the
    pictures.
    """
    return _unturn((turns - 2).abs() - 1, 1 - (turns - 1).abs(), size)


def unshift(share: Tensor, size: Size | None = None) -> Tensor:
    """Return the matrices (B, 3, 3) that undo shifts to the right and down.

    `share` (B, 2) has the shifts as fractions of width and height. If `size` (height and width in
    pixels) is given, shifts are rounded to whole pixels.
    """
    if size is not None:
        share = _whole_pixels(share, size)
    zero, one = torch.zeros_like(share[:, 0]), torch.ones_like(share[:, 0])
    return affine(one, zero, zero, one, -2 * share[:, 0], -2 * share[:, 1])


def warp(images_BCHW: Tensor, inverse_B33: Tensor) -> Tensor:
    """Apply an affine map to each picture; keep shape and dtype.

    `inverse_B33` has the inverses of the maps. A picture is returned unchanged if its map is the
    identity. If a map moves each pixel of a square picture exactly to the place of a pixel, the
    pixels are copied. Otherwise the picture is interpolated once (bilinear).
    """
    height, side = images_BCHW.shape[-2:]
    inverse = inverse_B33[:, :2]
    identity = torch.eye(2, 3, dtype=inverse.dtype, device=inverse.device)
    unchanged = (inverse == identity).all(dim=2).all(dim=1)
    if height != side:
        return change_some(images_BCHW, ~unchanged, _resample, inverse)
    linear, offset = inverse[:, :, :2], inverse[:, :, 2] * side / 2
    exact = (linear == linear.round()).all(dim=2).all(dim=1)
    exact &= ((offset - offset.round()).abs() < _PIXEL_TOLERANCE).all(dim=1)
    images_BCHW = change_some(images_BCHW, exact & ~unchanged, _move, inverse)
    return change_some(images_BCHW, ~exact, _resample, inverse)


def change_some(
    images: Tensor, chosen: Tensor, change: Callable[[Tensor, Tensor], Tensor], per_picture: Tensor
) -> Tensor:
    """Replace only some pictures by the results of `change`.

    `chosen` (bool, (B,)) says which pictures to replace. `per_picture` has a row of parameters for
    each picture. `change` takes pictures and their rows of `per_picture`, and returns the changed
    pictures. On the CPU, `change` gets only the chosen pictures. On other devices, it gets all
    pictures, and its results for pictures that are not chosen are discarded, because selecting
    pictures would wait for the device.
    """
    if images.device.type != "cpu":
        return torch.where(chosen[:, None, None, None], change(images, per_picture), images)
    if not chosen.any():
        return images
    if chosen.all():
        return change(images, per_picture)
    rows = chosen.nonzero()[:, 0]
    changed = change(images.index_select(0, rows), per_picture[rows])
    return images.index_copy(0, rows, changed)


def _unturn(cos: Tensor, sin: Tensor, size: Size) -> Tensor:
    zero, (height, width) = torch.zeros_like(cos), size
    if height == width:
        return affine(cos, sin, -sin, cos, zero, zero)
    return affine(cos, sin * (height / width), -sin * (width / height), cos, zero, zero)


def _whole_pixels(share: Tensor, size: Size) -> Tensor:
    height, width = size
    if height == width:
        return (share * width).round() / width
    right, down = share.unbind(1)
    return torch.stack([(right * width).round() / width, (down * height).round() / height], dim=1)


def _move(images: Tensor, inverse: Tensor) -> Tensor:
    """Apply shifts by whole pixels, mirrorings and quarter turns to square pictures.

    The pixels are copied without interpolation.
    """
    side = images.shape[-1]
    swapped = (inverse[:, 0, 0] == 0)[:, None, None, None]
    centres = (2 * torch.arange(side, dtype=inverse.dtype, device=inverse.device) + 1) / side - 1
    # Each axis of the original corresponds to one axis of the result, in either direction.
    position = inverse[:, :, :2].sum(dim=2)[:, :, None] * centres + inverse[:, :, 2, None]
    pixel = ((position + 1) * side / 2 - 0.5).round().long() % (2 * side)
    column, row = torch.where(pixel < side, pixel, 2 * side - 1 - pixel).unbind(1)
    moved = images.take_along_dim(row[:, None, :, None], 2)
    moved = moved.take_along_dim(column[:, None, None, :], 3)
    return torch.where(swapped, moved.transpose(2, 3), moved)


def _resample(images: Tensor, inverse: Tensor) -> Tensor:
    # Positions in a picture need more digits than a half-precision number has.
    with torch.autocast(images.device.type, enabled=False):
        precise = at_least_float32(images)
        grid = F.affine_grid(inverse.to(precise), list(images.shape), align_corners=False)
        sampled = F.grid_sample(
            precise, grid, mode="bilinear", padding_mode="reflection", align_corners=False
        )
    return sampled.to(images.dtype)
