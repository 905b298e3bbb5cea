"""Re-GAN (Saxena et al., CVPR 2023): after a warm-up, G trains sparse and dense in turns.

Entering a sparse phase, the smallest weights of each convolution become 0, with their moments in
Adam and their averages; without a gradient they stay exactly 0 until a dense phase regrows them.
So in a sparse phase the average that is evaluated and sampled is as sparse as G.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fastgan_ray.config.run_config import ReganConfig
from fastgan_ray.errors import UserError
from fastgan_ray.models.kernels import reference_kernels

WARM_UP, SPARSE, DENSE = 0, 1, 2
MOMENTS = ("exp_avg", "exp_avg_sq")


def period_at(images: int, config: ReganConfig) -> int:
    """Which period the step after `images` shown is in: -1 = warm-up, then 0, 1, 2, ..."""
    if config.sparsity == 0 or images < config.warmup_kimg * 1000:
        return -1
    return int((images - config.warmup_kimg * 1000) // (config.interval_kimg * 1000))


def phase_of(period: int) -> int:
    """WARM_UP, then SPARSE and DENSE in turns."""
    return WARM_UP if period < 0 else (SPARSE, DENSE)[period % 2]


def smallest(weight: Tensor, share: float) -> Tensor:
    """Where |weight| is below its `share`-quantile: bool, True for that share of it less ties."""
    size = weight.detach().abs()
    return size < size.flatten().kthvalue(int(share * size.numel()) + 1).values


def conv_weights(network: nn.Module) -> dict[str, nn.Parameter]:
    """The weights that training moves of each convolution, under its normalisation; by layer."""
    return {
        name: weight
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
        for weight in layer.parameters()
        if weight.ndim == 4
    }


class Regan:
    """Prunes and regrows a generator as the images shown go by; does nothing with sparsity 0."""

    def __init__(
        self,
        config: ReganConfig,
        generator: nn.Module,
        average: nn.Module,
        optimizer: torch.optim.Optimizer,
    ) -> None:
        self.config = config
        self.period = -1
        self.pruned: dict[str, Tensor] = {}
        self.stored: dict[str, Tensor] = {}
        self._weights = conv_weights(generator)
        self._averages = conv_weights(average)
        self._average = average
        self._optimizer = optimizer
        self._rate = float(optimizer.param_groups[0]["lr"])

    @torch.no_grad()
    def begin_step(self, images: int) -> None:
        """Enter the phase of the step that comes after `images` shown."""
        period = period_at(images, self.config)
        if period != self.period:
            self._regrow()
            if phase_of(period) == SPARSE:
                self._prune()
            self.period = period
        factor = self.config.dense_lr_factor if phase_of(period) == DENSE else 1.0
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate * factor

    def mask_gradients(self) -> None:
        """Between backward and step: with no moment and no gradient, Adam leaves a 0 alone."""
        for name, pruned in self.pruned.items():
            gradient = self._weights[name].grad
            if gradient is not None:  # without D's small branch, the small output gets none
                gradient.masked_fill_(pruned, 0.0)

    def report(self, z_BZ: Tensor) -> dict[str, float]:
        """Of the average: the phase, the share of pruned weights, the share of multiply-adds left.

        Both of convolutions, counted from what is exactly 0; empty if Re-GAN is off.
        """
        if self.config.sparsity == 0:
            return {}
        sizes = {name: weight.numel() for name, weight in self._averages.items()}
        left = {name: int(weight.count_nonzero()) for name, weight in self._averages.items()}
        uses = uses_per_weight(self._average, z_BZ)
        kept = sum(uses[name] * left[name] for name in uses)
        return {
            "regan/phase": float(phase_of(self.period)),
            "regan/sparsity": 1 - sum(left.values()) / sum(sizes.values()),
            "regan/flops_share": kept / sum(uses[name] * sizes[name] for name in uses),
        }

    def state(self) -> dict[str, Tensor]:
        """Everything the next step depends on."""
        return {
            "period": torch.tensor(self.period),
            **{f"pruned.{name}": mask for name, mask in self.pruned.items()},
            **{f"stored.{name}": value for name, value in self.stored.items()},
        }

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on exactly where `state` was taken; UserError if it is of another generator."""
        self.period = int(state["period"])
        parts: dict[str, dict[str, Tensor]] = {"pruned": {}, "stored": {}}
        for key, tensor in state.items():
            kind, _, name = key.partition(".")
            if kind == "period":
                continue
            weight = self._weights.get(name)
            if weight is None or weight.shape != tensor.shape:
                raise UserError(
                    f"regan: the checkpoint's {key} is of no convolution of this generator. "
                    "Resume with the configuration it was trained with."
                )
            parts[kind][name] = tensor.to(weight.device)
        self.pruned, self.stored = parts["pruned"], parts["stored"]

    def _prune(self) -> None:
        for name, weight in self._weights.items():
            pruned = smallest(weight, self.config.sparsity)
            if self.config.regrow == "stored":
                self.stored[name] = weight.masked_fill(~pruned, 0.0)
            moments = self._optimizer.state[weight]
            mine = [moments[moment] for moment in MOMENTS if moment in moments]
            for tensor in (weight, self._averages[name], *mine):
                tensor.masked_fill_(pruned, 0.0)
            self.pruned[name] = pruned

    def _regrow(self) -> None:
        for name, value in self.stored.items():
            self._weights[name].add_(value)  # to exact zeros
        self.pruned, self.stored = {}, {}


def uses_per_weight(generator: nn.Module, z_BZ: Tensor) -> dict[str, int]:
    """How many positions each convolution's weights are applied to in one picture, by layer."""
    uses: dict[str, int] = {}
    hooks = []
    for name, layer in generator.named_modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):

            def note(
                layer: nn.Module, inputs: tuple[Tensor], output: Tensor, name: str = name
            ) -> None:
                applied = inputs[0] if isinstance(layer, nn.ConvTranspose2d) else output
                uses[name] = applied.shape[-2] * applied.shape[-1]

            hooks.append(layer.register_forward_hook(note))
    with torch.no_grad(), reference_kernels():
        generator(z_BZ)
    for hook in hooks:
        hook.remove()
    return uses
