"""Apply the operations of an augmentation policy to pictures.

D sees a picture at two sizes, and both sizes get the same change. So all random numbers are drawn
first and do not depend on the size. The numbers are drawn on the CPU. The operations are applied on
the pictures' device, without waiting, and are differentiable with respect to the pictures.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from fastgan_ray.augment import bgc, diffaugment, diffusion, keras, mixing
from fastgan_ray.config.augment import AugmentConfig, how_to_register, policy_ops
from fastgan_ray.errors import UserError

Parameters = dict[str, Tensor]
Draw = dict[str, Parameters]


def draw(config: AugmentConfig, count: int, rng: torch.Generator) -> Draw:
    """Draw the random numbers of each operation of the policy for `count` pictures, on the CPU.

    Returns {operation: {name: tensor}}. `color`, `translation` and `cutout` change the same
    pictures: each picture is chosen with probability `config.probability`. The numbers of adaptive
    operations are drawn for all pictures; `gate` later applies their probability p.
    """
    chosen = torch.rand(count, generator=rng) < config.probability
    return {op: operation(op).draw(config, chosen, rng) for op in policy_ops(config.policy)}


def gate(drawn: Draw, p: Tensor | float) -> Draw:
    """Convert a result of `draw` to the parameters of each operation.

    p in [0, 1] is the probability with which an adaptive operation changes a picture.
    """
    return {op: operation(op).gate(numbers, p) for op, numbers in drawn.items()}


def each(drawn: Draw, choose: Callable[[Tensor], Tensor]) -> Draw:
    """Return the random numbers of a selection of the pictures.

    `drawn` is a result of `draw`. `choose` takes a tensor with a row for each picture, and returns
    the rows of the selected pictures.
    """
    return {
        op: {name: choose(value) if value.ndim else value for name, value in numbers.items()}
        for op, numbers in drawn.items()
    }


def apply(images_BCHW: Tensor, parameters: Draw) -> Tensor:
    """Augment pictures (B, C, H, W) in [-1, 1] with all operations; keep shape and dtype.

    `parameters` is a result of `gate`, on the pictures' device.
    """
    for op, values in parameters.items():
        images_BCHW = operation(op).apply(images_BCHW, values)
    return images_BCHW


class Op(NamedTuple):
    """The three functions of an augmentation operation.

    `draw` takes the configuration, the chosen pictures (bool, (B,)) and a random number generator,
    and returns random numbers. `gate` takes these numbers and the probability p, and returns
    parameters. `apply` takes pictures and parameters, and returns the changed pictures.
    """

    draw: Callable[[AugmentConfig, Tensor, torch.Generator], Parameters]
    apply: Callable[[Tensor, Parameters], Tensor]
    gate: Callable[[Parameters, Tensor | float], Parameters] = lambda numbers, p: numbers


def _unchanged(images_BCHW: Tensor, parameters: Parameters) -> Tensor:
    return images_BCHW


OPS: dict[str, Op] = {
    "color": Op(
        lambda config, chosen, rng: diffaugment.draw_color(
            chosen, rng, config.brightness, config.saturation, config.contrast
        ),
        diffaugment.color,
    ),
    "translation": Op(
        lambda config, chosen, rng: diffaugment.draw_translation(chosen, rng, config.translation),
        diffaugment.translation,
    ),
    "cutout": Op(
        lambda config, chosen, rng: diffaugment.draw_cutout(chosen, rng, config.cutout),
        diffaugment.cutout,
    ),
    "bgc": Op(lambda config, chosen, rng: bgc.draw(len(chosen), rng), bgc.apply, bgc.gate),
    "keras": Op(
        lambda config, chosen, rng: keras.draw(
            len(chosen), rng, config.keras_shift, config.keras_rotation, config.keras_zoom
        ),
        keras.apply,
        keras.gate,
    ),
    # Only the training step can apply these operations (see train/views.py).
    "apa": Op(lambda config, chosen, rng: mixing.draw(len(chosen), rng), _unchanged),
    "anda": Op(lambda config, chosen, rng: mixing.draw(len(chosen), rng), _unchanged),
    "diffusion": Op(lambda config, chosen, rng: diffusion.draw(len(chosen), rng), _unchanged),
}

# The user's own operations, which `user_operations.register` adds.
REGISTERED: dict[str, Op] = {}


def operation(name: str) -> Op:
    """Return the operation `name` of this package, or the one that the user registered.

    Raises UserError if there is none in this process.
    """
    if name not in OPS and name not in REGISTERED:
        raise UserError(
            f"augment.policy: {name} is unknown in this process. {how_to_register(name)}"
        )
    return OPS[name] if name in OPS else REGISTERED[name]
