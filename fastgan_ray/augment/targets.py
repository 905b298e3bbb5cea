"""Scale an augmentation's random numbers to [0, 1], so that D can predict them (AugSelf-GAN).

Source: Hou et al. 2023, arXiv 2205.15677. A target has a column for each number of each operation
in `PREDICTED`. This includes operations that the policy does not have; their numbers have the
weight 0.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fastgan_ray.augment.pipeline import Draw, Parameters
from fastgan_ray.config.augment import AugmentConfig
from fastgan_ray.config.task_fields import PREDICTED


def targets_of(drawn: Draw, config: AugmentConfig, channels: int) -> Tensor:
    """Compute what D must predict: (2, B, PREDICTED_COUNT), numbers in [0, 1] and their weights.

    `drawn` has the random numbers of B pictures with `channels` channels. A number without effect
    on a picture has the weight 0. The other numbers of an operation have equal weights that add up
    to 1. A number has no effect if the policy does not have its operation, if the picture was not
    chosen for the operation, or if the number's strength in `config` is 0. The saturation of grey
    pictures also has no effect.
    """
    count = len(next(iter(next(iter(drawn.values())).values())))
    columns = [
        _SCALED[op](drawn[op], config, channels)
        if op in drawn
        else torch.zeros(2, count, len(names))
        for op, names in PREDICTED.items()
    ]
    return torch.cat(columns, dim=2)


def _color(drawn: Parameters, config: AugmentConfig, channels: int) -> Tensor:
    """Return brightness, saturation and contrast, scaled to [0, 1], and their weights.

    In `drawn`, brightness is from -b to b, and saturation and contrast are from 1 - s to 1 + s. b
    and s are their strengths in `config`.
    """
    strengths = {name: getattr(config, name) for name in PREDICTED["color"]}
    centres = {"brightness": 0.0, "saturation": 1.0, "contrast": 1.0}
    numbers = [
        0.5 + (drawn[name] - centres[name]) / (2 * strength) if strength else drawn[name]
        for name, strength in strengths.items()
    ]
    has_effect = [
        strength > 0 and (name != "saturation" or channels > 1)
        for name, strength in strengths.items()
    ]
    return _with_weights(torch.stack(numbers, dim=1), drawn["chosen"], torch.tensor(has_effect))


def _translation(drawn: Parameters, config: AugmentConfig, channels: int) -> Tensor:
    """Return the shifts, which are already in [0, 1], and their weights.

    0 is the farthest shift up or left, and 0.5 is no shift.
    """
    chosen = (drawn["where"] != 0.5).any(dim=1)
    return _with_weights(drawn["where"], chosen, torch.full((2,), config.translation > 0))


def _cutout(drawn: Parameters, config: AugmentConfig, channels: int) -> Tensor:
    """Return the centres of the holes, which are already in [0, 1], and their weights.

    0 is the top or left edge of the picture.
    """
    chosen = drawn["centre"].isfinite().all(dim=1)
    centre = torch.where(chosen[:, None], drawn["centre"], 0.0)
    return _with_weights(centre, chosen, torch.full((2,), config.cutout > 0))


def _with_weights(numbers: Tensor, chosen: Tensor, has_effect: Tensor) -> Tensor:
    """Stack `numbers` (B, n) and their weights: (2, B, n).

    `chosen` (bool, (B,)) says which pictures change. `has_effect` (bool, (n,)) says which numbers
    have an effect on the chosen pictures.
    """
    weights = (chosen[:, None] & has_effect) / has_effect.sum().clamp(min=1)
    return torch.stack([numbers, weights])


_SCALED: dict[str, Callable[[Parameters, AugmentConfig, int], Tensor]] = {
    "color": _color,
    "translation": _translation,
    "cutout": _cutout,
}
