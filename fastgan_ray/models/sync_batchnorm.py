"""Synchronise batch normalisation among the processes that train one generator."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fastgan_ray.arithmetic import at_least_float32
from fastgan_ray.distributed import Group
from fastgan_ray.models.base import AnyDiscriminator
from fastgan_ray.models.blocks import NoiseInjection
from fastgan_ray.models.discriminator_norms import ChainControl


class SharedBatchNorm(nn.BatchNorm2d):
    """A batch normalisation that uses the statistics of the batch of all processes.

    It runs on any device and has second derivatives, unlike PyTorch's SyncBatchNorm.
    """

    def __init__(self, norm: nn.BatchNorm2d, group: Group) -> None:
        """Create a layer that replaces `norm` and uses the parameters and buffers of `norm`."""
        super().__init__(norm.num_features, norm.eps, norm.momentum, device="meta")
        self.group = group
        for name in ("weight", "bias"):
            self.register_parameter(name, getattr(norm, name))
        for name, buffer in norm.named_buffers():
            self.register_buffer(name, buffer)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Normalise features (B, C, H, W); B must be the same in each process."""
        if not self.training or self.group.size == 1:
            return super().forward(x_BCHW)
        wide = at_least_float32(x_BCHW)
        variance_C, mean_C = torch.var_mean(wide, dim=(0, 2, 3), correction=0)
        # One message between the processes is enough. Unlike E[x^2] - E[x]^2, this formula loses no
        # digits if means are large.
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
        """Update the running statistics as `nn.BatchNorm2d` does.

        `count` is the number of values per channel in all processes.
        """
        assert self.running_mean is not None and self.running_var is not None
        assert self.momentum is not None and self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean_C.to(self.running_mean), self.momentum)
        unbiased = variance_C * (count / (count - 1))
        self.running_var.lerp_(unbiased.to(self.running_var), self.momentum)


def distribute(network: nn.Module, group: Group) -> None:
    """Change `network` so that the processes of `group` can train it together.

    Each process has a part of the batch. The training has the same result as with one process and
    the whole batch. Batch statistics are computed over all processes. Each process draws the random
    numbers of the whole batch, and uses the random numbers of its own samples. The names and values
    in the state dict do not change.
    """
    if group.size == 1:
        return
    for module in list(network.modules()):
        if isinstance(module, NoiseInjection | AnyDiscriminator | ChainControl):
            module.group = group
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, SharedBatchNorm(child, group))
