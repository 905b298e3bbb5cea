"""Networks whose batches are spread over several processes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fastgan_ray.distributed import Group
from fastgan_ray.models.base import AnyDiscriminator
from fastgan_ray.models.blocks import NoiseInjection


class SharedBatchNorm(nn.BatchNorm2d):
    """Batch normalisation by the statistics of a whole group's batch, on any device.

    torch's own SyncBatchNorm refuses the CPU, and has no second derivative.
    """

    def __init__(self, norm: nn.BatchNorm2d, group: Group) -> None:
        """In the place of `norm`, with its very weights and buffers."""
        super().__init__(norm.num_features, norm.eps, norm.momentum, device="meta")
        self.group = group
        for name in ("weight", "bias"):
            self.register_parameter(name, getattr(norm, name))
        for name, buffer in norm.named_buffers():
            self.register_buffer(name, buffer)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W); B the same in each process."""
        if not self.training or self.group.size == 1:
            return super().forward(x_BCHW)
        wide = x_BCHW.to(torch.promote_types(x_BCHW.dtype, torch.float32))
        variance_C, mean_C = torch.var_mean(wide, dim=(0, 2, 3), correction=0)
        # One message; and unlike E[x^2] - E[x]^2 nothing is lost where means are large.
        each_W2C = self.group.gather(torch.stack([variance_C, mean_C])[None])
        variance_C, mean_C = each_W2C.mean(dim=0)
        between_WC = (each_W2C[:, 1] - mean_C).square()
        variance_C = variance_C + between_WC.mean(dim=0)
        self._remember(mean_C, variance_C, self.group.size * wide[:, 0].numel())
        scale_C = torch.rsqrt(variance_C + self.eps)
        if self.weight is not None:
            scale_C = scale_C * self.weight
        shift_C = self.bias - mean_C * scale_C
        shift, scale = (v[None, :, None, None] for v in (shift_C, scale_C))
        return torch.addcmul(shift, wide, scale).to(x_BCHW.dtype)

    @torch.no_grad()
    def _remember(self, mean_C: Tensor, variance_C: Tensor, count: int) -> None:
        """Move the running statistics, as `nn.BatchNorm2d` does."""
        assert self.running_mean is not None and self.running_var is not None
        assert self.momentum is not None and self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean_C.to(self.running_mean), self.momentum)
        unbiased = variance_C * (count / (count - 1))
        self.running_var.lerp_(unbiased.to(self.running_var), self.momentum)


def spread(network: nn.Module, group: Group) -> None:
    """Have `network` train on its share of a group's batches as it would alone on the whole.

    Batch statistics are those of all processes, and of every random draw for each sample a process
    takes its rows. The names and values in the state dict stay as they are.
    """
    if group.size == 1:
        return
    for module in list(network.modules()):
        if isinstance(module, NoiseInjection | AnyDiscriminator):
            module.group = group
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, SharedBatchNorm(child, group))
