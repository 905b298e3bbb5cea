"""Augment pictures in the user's own training loop: DiffAugment and StyleGAN2-ADA's pipeline.

The operations are the same as in this package's trainings (see `pipeline`). Pictures are float
tensors (B, C, H, W) in [-1, 1], on any device.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from fastgan_ray.augment import ada, pipeline
from fastgan_ray.augment.geometry import wide
from fastgan_ray.augment.pipeline import Draw
from fastgan_ray.config.augment import TRAINING_OPS, AugmentConfig, is_adaptive, policy_ops
from fastgan_ray.config.data import CHANNELS
from fastgan_ray.config.rules import validated

STRENGTHS = ("probability", "brightness", "saturation", "contrast", "translation", "cutout")
_COLOUR_OPS = ("color", "bgc")


def DiffAugment(  # noqa: N802 - the published name
    x: Tensor,
    policy: str = "color,translation,cutout",
    *,
    rng: torch.Generator | None = None,
    **strengths: float,
) -> Tensor:
    """Augment pictures (B, C, H, W) with DiffAugment (Zhao et al. 2020); keep shape and dtype.

    `x` is a float tensor in [-1, 1]. The result has first and second derivatives with respect to
    `x`. `policy` lists operations, separated by commas: color, translation, cutout, and operations
    that you registered. `color` needs 1, 3 or 4 channels (grey, RGB, RGB and alpha). The others
    take any number of channels. `strengths` are settings of the section `augment`: probability,
    brightness, saturation, contrast, translation, cutout. Their defaults are the published ones.

    `rng` draws the random numbers; if it is None, PyTorch's global generator draws them. The
    numbers do not depend on the size of the pictures. So with the same seed, a picture and its
    smaller copy get the same change.

    Raises ValueError for other operations or strengths, for a strength that is not valid, and for
    an `x` of another shape or type.
    """
    if unknown := [name for name in strengths if name not in STRENGTHS]:
        raise ValueError(f"DiffAugment has no setting {unknown[0]}; use {', '.join(STRENGTHS)}")
    config = _constant_settings({"policy": policy, **strengths})
    _require_no_training_op(policy)
    if names := [op for op in policy_ops(policy) if is_adaptive(op)]:
        raise ValueError(
            f"DiffAugment has no adaptive operations, but {names[0]} is adaptive; use "
            "fastgan_ray.AdaptiveAugment"
        )
    return _augment(x, config, 0.0, rng)


class AdaptiveAugment:
    """Augments with an adaptive probability p, as StyleGAN2-ADA does (Karras et al. 2020).

    p rises while too many of D's logits of real pictures are positive; otherwise p falls. `policy`
    lists operations as in `augment.policy`. p applies only to the policy's adaptive operations:
    bgc, keras, and adaptive operations that you registered. `settings` are other settings of the
    section `augment`: ada (stylegan2, keras or none), ada_p, ada_max_p, ada_target, ada_kimg,
    ada_interval, and the strengths of `DiffAugment`. Raises ValueError if the settings are not
    valid or the policy has no adaptive operation.
    """

    def __init__(self, policy: str = "bgc", **settings: str | float | None) -> None:
        self._config = _constant_settings({"policy": policy, **settings})
        _require_no_training_op(policy)
        if not any(map(is_adaptive, policy_ops(policy))):
            raise ValueError(
                f"policy {policy!r} has no adaptive operation, such as bgc or keras; use "
                "fastgan_ray.DiffAugment"
            )
        self._state = ada.ada_state(self._config.ada_p, torch.device("cpu"))

    @property
    def p(self) -> float:
        """The probability of the adaptive operations; reading it waits for the device."""
        return float(self._state.p)

    def __call__(self, x: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """Augment pictures (B, C, H, W) with the current p; keep shape and dtype.

        `x` and `rng` are as in `DiffAugment`. The operations bgc and color need 1, 3 or 4 channels.
        """
        return _augment(x, self._config, self._state.p, rng)

    def update(self, real_logits: Tensor, undecided: Tensor | float = 0.0) -> None:
        """Adapt p after a step of D; call it once for each batch of real pictures.

        `real_logits` are D's logits (B, ...) of the batch. `undecided` is the logit of an undecided
        D: 0 for the hinge and logistic losses, 0.5 for least squares. For Wasserstein and
        relativistic losses, pass D's logits of generated pictures (B, ...) instead. Raises
        ValueError if the batch is empty. The function waits for the device only if the state must
        be moved to the device of `real_logits`.
        """
        if not real_logits.numel():
            raise ValueError(f"real_logits must not be empty (got {tuple(real_logits.shape)})")
        self._move(real_logits.device)
        sign = (real_logits - undecided).detach().sign().float().mean()
        self._state = ada.update(self._state, sign, len(real_logits), self._config)

    def state_dict(self) -> dict[str, float]:
        """Return the exact state for a checkpoint: {"p", "sign_sum", "count"} (see `AdaState`)."""
        return {name: value.item() for name, value in vars(self._state).items()}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Load a state that `state_dict` returned."""
        self._state = _restored(state, self._state.p.device)

    def _move(self, device: torch.device) -> None:
        if self._state.p.device != device:
            self._state = _restored(self.state_dict(), device)


def _restored(state: Mapping[str, float], device: torch.device) -> ada.AdaState:
    return ada.ada_state(state["p"], device, state["sign_sum"], int(state["count"]))


def _require_no_training_op(policy: str) -> None:
    """Raise ValueError if `policy` has an operation that works only in this package's trainings."""
    if names := [op for op in policy_ops(policy) if op in TRAINING_OPS]:
        raise ValueError(
            f"{names[0]} works only in a training of this package (augment.policy); remove it from "
            "the policy"
        )


def _constant_settings(settings: Mapping[str, Any]) -> AugmentConfig:
    """Return the section `augment` with these settings.

    Raises ValueError if a setting is not valid or is a schedule.
    """
    config = validated(AugmentConfig, settings)
    if config.schedules:
        raise ValueError(
            f"{next(iter(config.schedules))}: must be a number, because schedules work only in a "
            "training of this package"
        )
    return config


def _augment(
    x: Tensor, config: AugmentConfig, p: Tensor | float, rng: torch.Generator | None
) -> Tensor:
    """Augment pictures (B, C, H, W) with the policy of `config`; keep shape and dtype.

    `p` is the probability of adaptive operations.
    """
    _require_pictures(x, config.policy)
    drawn = pipeline.draw(config, len(x), _cpu_generator(rng))
    p = p.to(x.device, wide(x.device)) if isinstance(p, Tensor) else p
    with torch.autocast(x.device.type, enabled=False):
        return pipeline.apply(x, pipeline.gate(_on_device(drawn, x.device), p))


def _cpu_generator(rng: torch.Generator | None) -> torch.Generator:
    """Return a random number generator on the CPU.

    This is `rng` itself if `rng` is on the CPU. Otherwise it is a new generator, whose seed is
    drawn from `rng`; drawing the seed waits for the device of `rng`.
    """
    if rng is None:
        return torch.default_generator
    if rng.device.type == "cpu":
        return rng
    seed = torch.randint(2**62, (), generator=rng, device=rng.device).item()
    return torch.Generator().manual_seed(int(seed))


def _on_device(drawn: Draw, device: torch.device) -> Draw:
    """Copy random numbers to `device`; float64 becomes the most precise float type of `device`."""
    return {
        op: {
            name: value.to(device, wide(device) if value.dtype == torch.float64 else value.dtype)
            for name, value in numbers.items()
        }
        for op, numbers in drawn.items()
    }


def _require_pictures(x: Tensor, policy: str) -> None:
    """Raise ValueError unless `x` is a float tensor (B, C, H, W) whose channels suit `policy`."""
    if not isinstance(x, Tensor):
        raise ValueError(f"pictures must be a tensor (got {type(x).__name__})")
    if not x.is_floating_point():
        raise ValueError(
            "pictures must be floating-point numbers in [-1, 1]; convert bytes with "
            f"x / 127.5 - 1 (got {x.dtype})"
        )
    if x.ndim != 4:
        raise ValueError(f"pictures must be (B, C, H, W) (got {tuple(x.shape)})")
    colours = [op for op in policy_ops(policy) if op in _COLOUR_OPS]
    if colours and x.shape[1] not in CHANNELS.values():
        raise ValueError(
            f"{colours[0]} needs 1, 3 or 4 channels (got {x.shape[1]}); remove {colours[0]} from "
            "the policy"
        )
