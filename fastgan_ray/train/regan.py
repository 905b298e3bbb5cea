"""Train G with Re-GAN (Saxena et al., CVPR 2023): sparse and dense phases after a warm-up.

At the start of a sparse phase, the smallest weights of each convolution and linear layer are
pruned: the weights, their Adam moments and their moving averages are set to 0. Pruned weights get
no gradient and stay exactly 0 until the next dense phase, which trains them again. So in a sparse
phase, the weight average, which is used for evaluation and sampling, is as sparse as G.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fastgan_ray.config.regan import ReganConfig
from fastgan_ray.errors import UserError
from fastgan_ray.models.kernels import reference_kernels
from fastgan_ray.models.style_layers import ConvModulated

WARM_UP, SPARSE, DENSE = 0, 1, 2
MOMENTS = ("exp_avg", "exp_avg_sq")
PRUNED_LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


def period_at(images: int, config: ReganConfig) -> int:
    """Return the index of the period that contains the next step.

    `images` is the number of images shown so far. The index is -1 in the warm-up, and counts from 0
    after it. Each period is a sparse or a dense phase. Without Re-GAN (sparsity 0), the index is
    always -1.
    """
    if config.largest("sparsity") == 0 or images < config.warmup_kimg * 1000:
        return -1
    return int((images - config.warmup_kimg * 1000) // (config.interval_kimg * 1000))


def phase_of(period: int) -> int:
    """Return the phase of a period: WARM_UP for -1, SPARSE for even and DENSE for odd numbers."""
    return WARM_UP if period < 0 else (SPARSE, DENSE)[period % 2]


def smallest(weight: Tensor, share: float) -> Tensor:
    """Find the smallest elements of `weight`; return a bool tensor of the same shape.

    True marks the fraction `share` (rounded down) of the elements with the smallest absolute
    values. Elements with equal absolute values are marked together or not at all. Therefore fewer
    elements than this fraction may be marked.
    """
    size = weight.detach().abs()
    return size < size.flatten().kthvalue(int(share * size.numel()) + 1).values


def layer_weights(network: nn.Module) -> dict[str, nn.Parameter]:
    """Return the trained weight of each convolution and linear layer, by the layer's name.

    With spectral normalisation, this is the weight before the normalisation. Biases are not
    included.
    """
    return {
        name: weight
        for name, layer in network.named_modules()
        if isinstance(layer, PRUNED_LAYERS)
        for weight in layer.parameters()
        if weight.ndim > 1  # not the bias
    }


class Regan:
    """Re-GAN for one generator: prunes and regrows its weights; does nothing with sparsity 0."""

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
        self._weights = layer_weights(generator)
        self._averages = layer_weights(average)
        self._average = average
        self._optimizer = optimizer
        self._rate = float(optimizer.param_groups[0]["lr"])

    @torch.no_grad()
    def begin_step(self, images: int, config: ReganConfig) -> None:
        """Enter the phase (sparse or dense) of the next step; set the learning rate of the phase.

        `images` is the number of images shown so far. `config` has the values of scheduled settings
        at this step.
        """
        period = period_at(images, config)
        if period != self.period:
            self._regrow()
            if phase_of(period) == SPARSE:
                self._prune(config)
            self.period = period
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate * self.lr_factor(config)

    def lr_factor(self, config: ReganConfig) -> float:
        """Return the factor by which the current phase multiplies the learning rate."""
        return config.dense_lr_factor if phase_of(self.period) == DENSE else 1.0

    def mask_gradients(self) -> None:
        """Set the gradients of pruned weights to 0, so that Adam does not change these weights.

        Call this function after the backward pass and before Adam's step.
        """
        for name, pruned in self.pruned.items():
            gradient = self._weights[name].grad
            if gradient is not None:  # None for the small output's weights if D has no small branch
                gradient.masked_fill_(pruned, 0.0)

    def report(self, z_BZ: Tensor, gflop_g: float) -> dict[str, float]:
        """Measure how sparse the weight average is; return {} if Re-GAN is off.

        `z_BZ` is any latent (1, nz). `gflop_g` is the cost of the dense generator for one picture,
        in 10**9 operations. Returns four numbers, in which "layers" means the generator's
        convolutions and linear layers:

        - regan/phase: the current phase, 0 (warm-up), 1 (sparse) or 2 (dense).
        - regan/sparsity: the fraction of the layers' weights that are exactly 0.
        - regan/flops_share: the fraction of the layers' multiply-adds whose weights are not 0.
        - regan/gflop_g: the generator's operations without the multiply-adds whose weights are 0.
        """
        if self.config.largest("sparsity") == 0:
            return {}
        sizes = {name: weight.numel() for name, weight in self._averages.items()}
        left = {name: int(weight.count_nonzero()) for name, weight in self._averages.items()}
        uses = uses_per_weight(self._average, z_BZ)
        remaining = sum(uses[name] * left[name] for name in uses)
        everything = sum(uses[name] * sizes[name] for name in uses)
        return {
            "regan/phase": float(phase_of(self.period)),
            "regan/sparsity": 1 - sum(left.values()) / sum(sizes.values()),
            "regan/flops_share": remaining / everything,
            "regan/gflop_g": gflop_g - 2 * (everything - remaining) / 1e9,
        }

    def state(self) -> dict[str, Tensor]:
        """Return the state of Re-GAN on which later steps depend, as tensors by name."""
        return {
            "period": torch.tensor(self.period),
            **{f"pruned.{name}": mask for name, mask in self.pruned.items()},
            **{f"stored.{name}": value for name, value in self.stored.items()},
        }

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Load a state that `state()` returned; raise UserError if it does not fit G."""
        self.period = int(state["period"])
        parts: dict[str, dict[str, Tensor]] = {"pruned": {}, "stored": {}}
        for key, tensor in state.items():
            kind, _, name = key.partition(".")
            if kind == "period":
                continue
            weight = self._weights.get(name)
            if weight is None or weight.shape != tensor.shape:
                raise UserError(
                    f"regan: the checkpoint's tensor {key} does not fit any layer of this "
                    "generator. Resume with the configuration of the checkpoint."
                )
            parts[kind][name] = tensor.to(weight.device)
        self.pruned, self.stored = parts["pruned"], parts["stored"]

    def _prune(self, config: ReganConfig) -> None:
        for name, weight in self._weights.items():
            pruned = smallest(weight, config.sparsity)
            if config.regrow == "stored":
                self.stored[name] = weight.masked_fill(~pruned, 0.0)
            moments = self._optimizer.state[weight]
            existing = [moments[moment] for moment in MOMENTS if moment in moments]
            for tensor in (weight, self._averages[name], *existing):
                tensor.masked_fill_(pruned, 0.0)
            self.pruned[name] = pruned

    def _regrow(self) -> None:
        for name, value in self.stored.items():
            self._weights[name].add_(value)  # pruned weights are exactly 0 until here
        self.pruned, self.stored = {}, {}


def _is_transposed(layer: nn.Module) -> bool:
    return isinstance(layer, nn.ConvTranspose2d) or (
        isinstance(layer, ConvModulated) and layer.doubles
    )


def uses_per_weight(generator: nn.Module, z_BZ: Tensor) -> dict[str, int]:
    """Count how often each weight of a layer is used for one picture; return counts by layer name.

    A weight is used once for each position in the layer's output. In a transposed convolution, it
    is used once for each position in the input. In a linear layer, it is used once.
    """
    uses: dict[str, int] = {}
    hooks = []
    for name, layer in generator.named_modules():
        if isinstance(layer, PRUNED_LAYERS):

            def record_uses(
                layer: nn.Module, inputs: tuple[Tensor], output: Tensor, name: str = name
            ) -> None:
                positions = inputs[0] if _is_transposed(layer) else output
                uses[name] = math.prod(positions.shape[2:])  # 1 for a linear layer

            hooks.append(layer.register_forward_hook(record_uses))
    with torch.no_grad(), reference_kernels():
        generator(z_BZ)
    for hook in hooks:
        hook.remove()
    return uses
