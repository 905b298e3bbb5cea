"""Register the user's own augmentation operations, so that `augment.policy` may name them.

A registered operation exists only in the process that registered it. A search also registers it in
the processes of its trials (see `setup_of_processes`). A single training does not register it in
its workers.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import torch
from torch import Tensor

from fastgan_ray.augment.pipeline import OPS, REGISTERED, Op, Parameters
from fastgan_ray.config.augment import AUGMENT_OPS, REGISTERED_OPS, AugmentConfig
from fastgan_ray.counting import counted

Apply = Callable[[Tensor, Parameters], Tensor]
DrawNumbers = Callable[[int, torch.Generator], Parameters]
_CHOSEN = "chosen pictures"  # the key of the numbers that this package adds to those of the user
_TRIAL_COUNT = 2


def draw_nothing(count: int, rng: torch.Generator) -> Parameters:
    """Return no random numbers, for operations that change all chosen pictures in the same way."""
    return {}


def register(
    name: str, apply: Apply, draw: DrawNumbers | None = None, adaptive: bool = False
) -> None:
    """Add an augmentation operation under `name`; replace an earlier registration of this name.

    `apply(images, numbers)` takes pictures (B, C, H, W) in [-1, 1], and returns changed pictures of
    the same shape and dtype. It must be differentiable with respect to the pictures. `numbers` is
    the dictionary of tensors that `draw(count, rng)` returned, now on the device of the pictures.
    Each of these tensors has `count` rows. `draw` must draw only with `rng`, on the CPU. D sees
    each generated picture at two sizes, and both get the same numbers, so the numbers must not be
    in pixels.

    A picture is changed with probability `augment.probability`. If the operation is `adaptive`, the
    probability is p, which `augment.ada` controls.

    Raises ValueError if this package has an operation `name`, if `name` has other characters than
    letters, digits and underscores, if `apply` or `draw` is not a function, or if a result of
    `draw` is not a dictionary of CPU tensors with `count` rows.
    """
    if name in AUGMENT_OPS:
        raise ValueError(f"{name} is an operation of this package; choose another name")
    if not re.fullmatch(r"\w+", name):
        raise ValueError(f"name must consist of letters, digits and underscores (got {name!r})")
    for argument, function in (("apply", apply), ("draw", draw or draw_nothing)):
        if not callable(function):
            raise ValueError(f"{argument} must be a function (got {type(function).__name__})")
    operation = _operation(name, apply, draw or draw_nothing, adaptive)
    operation.draw(
        AugmentConfig(),
        torch.ones(_TRIAL_COUNT, dtype=torch.bool),
        torch.Generator().manual_seed(0),
    )
    REGISTERED[name] = operation
    REGISTERED_OPS[name] = adaptive


def unregister(name: str) -> None:
    """Remove the registered operation `name`; raise ValueError if it is not registered."""
    if name not in REGISTERED:
        raise ValueError(f"{name} is not a registered operation")
    del REGISTERED[name], REGISTERED_OPS[name]


def setup_of_processes() -> Callable[[], None] | None:
    """Return a function that copies the user's operations to the process in which it is called.

    The operations are those that are registered now. If there are none, return None. The function
    can be pickled by cloudpickle.
    """
    if not REGISTERED:
        return None
    operations, adaptive = dict(REGISTERED), dict(REGISTERED_OPS)

    def register_all() -> None:
        _restore(operations, adaptive)

    return register_all


def _restore(operations: dict[str, Op], adaptive: dict[str, bool]) -> None:
    # This must not be a nested function: cloudpickle would copy the globals of a nested function.
    REGISTERED.update(operations)
    REGISTERED_OPS.update(adaptive)


def _operation(name: str, apply: Apply, draw: DrawNumbers, adaptive: bool) -> Op:
    """Return an operation that changes only chosen pictures.

    The operation raises ValueError if `draw` or `apply` returns something that `register` does not
    allow.
    """

    def draw_checked(config: AugmentConfig, chosen: Tensor, rng: torch.Generator) -> Parameters:
        numbers = _checked_numbers(name, draw(len(chosen), rng), len(chosen))
        gates = torch.rand(len(chosen), generator=rng) if adaptive else chosen
        return {**numbers, _CHOSEN: gates}

    def gate(numbers: Parameters, p: Tensor | float) -> Parameters:
        return {**numbers, _CHOSEN: numbers[_CHOSEN] < p} if adaptive else numbers

    def apply_to_chosen(images: Tensor, parameters: Parameters) -> Tensor:
        numbers = {key: value for key, value in parameters.items() if key != _CHOSEN}
        changed = apply(images, numbers)
        if changed.shape != images.shape or changed.dtype != images.dtype:
            raise ValueError(
                f"{name}: the registered function `apply` must keep the shape and dtype of the "
                f"pictures, {tuple(images.shape)} and {images.dtype} "
                f"(got {tuple(changed.shape)} and {changed.dtype})"
            )
        return torch.where(parameters[_CHOSEN][:, None, None, None], changed, images)

    assert name not in OPS
    return Op(draw_checked, apply_to_chosen, gate)


def _checked_numbers(name: str, numbers: Parameters, count: int) -> Parameters:
    """Return `numbers`, a result of an operation's function `draw`, if it is valid.

    Otherwise raise ValueError. `name` is the name of the operation, and `count` the number of
    pictures.
    """
    if not isinstance(numbers, dict):
        raise ValueError(
            f"{name}: draw must return a dict of tensors by name (got {type(numbers).__name__})"
        )
    for key, value in numbers.items():
        if not isinstance(value, Tensor):
            raise ValueError(
                f"{name}: draw must return a dict of tensors by name, but the value for the key "
                f"{key!r} is not a tensor (got {type(value).__name__})"
            )
        if value.shape[:1] != (count,) or value.device.type != "cpu":
            raise ValueError(
                f"{name}: draw must return tensors on the CPU with a row for each of "
                f"{counted(count, 'picture')}, but the tensor for the key {key!r} has the shape "
                f"{tuple(value.shape)} and is on {value.device}"
            )
    return numbers
