"""The state of a training: networks, Adam, EMA, random generators, sums of losses."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from fastgan_ray.augment.ada import AdaState, ada_state
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.data.sampler import Sampler
from fastgan_ray.distributed import ALONE, Group
from fastgan_ray.models import (
    AnyDiscriminator,
    AnyGenerator,
    build_discriminator,
    build_generator,
    checkpoint_gradients,
    distribute,
)
from fastgan_ray.torch_compat import add_each_, move_each_
from fastgan_ray.train.instances import Instances, instances_state
from fastgan_ray.train.lecam import LecamState, lecam_state
from fastgan_ray.train.regan import Regan
from fastgan_ray.train.rng import seeded, streams


class LogPosition(NamedTuple):
    """The sums and counts of the losses, the step and the seconds at the last row of the log."""

    sums: dict[str, float]
    counts: dict[str, int]
    step: int
    seconds: float


@dataclass
class TrainState:
    """The two networks, G's weight average, optimisers, random streams and position in the data.

    - `ada` has the probability of the adaptive augmentations.
    - `lecam` has the moving averages of D's logits for LeCam's penalty.
    - `instances` has the state of InsGen or FakeCLR; None without these tasks.
    - `group` is the group of processes that train together, each on a part of every batch.
    - `start` describes the weights that the training started from (see `initial_weights`); None
      if they were random.
    - `shown` has the small pictures (N, C, h, w), in 0..255, that the last evaluation generated
      from fixed latents. The next evaluation measures how much they have changed.
    - `sums` has, by name, the sum of each loss since the last evaluation. `counts` has the number
      of values in each sum.
    - `logged` is the position of the last row of the log; None without a log.
    """

    generator: AnyGenerator
    discriminator: AnyDiscriminator
    ema: nn.Module
    optimizer_g: torch.optim.Adam
    optimizer_d: torch.optim.Adam
    regan: Regan
    rngs: dict[str, torch.Generator]
    sampler: Sampler
    ada: AdaState
    lecam: LecamState
    instances: Instances | None = None
    group: Group = ALONE
    start: dict[str, Any] | None = None
    shown: Tensor | None = None
    sums: dict[str, Tensor] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    logged: LogPosition | None = None
    step: int = 0
    seconds: float = 0.0


def new_state(
    config: RunConfig, image_count: int, device: torch.device, group: Group = ALONE
) -> TrainState:
    """Build the state before the first step; it depends only on the arguments.

    `image_count` is the number of training pictures.
    """
    rngs = streams(config.train.seed, device)
    channels = config.data.channels
    generator = build_generator(config.model, rngs["init"], channels)
    discriminator = build_discriminator(config.model, rngs["init"], channels)
    for block in discriminator.blocks_from_picture()[: config.train.freeze_d]:
        for module in block:
            module.requires_grad_(False)
    for network in (generator, discriminator):
        network.to(device).to(memory_format=torch.channels_last)
    betas = (config.train.beta1, config.train.beta2)
    ema = copy.deepcopy(generator).requires_grad_(False)
    instances = instances_state(config, discriminator, image_count, group)
    for network in (generator, discriminator):
        distribute(network, group)
        if config.train.gradient_checkpointing:
            checkpoint_gradients(network)
    optimizer_g = _adam(generator, config.train.lr_g, betas)
    return TrainState(
        generator=generator,
        discriminator=discriminator,
        ema=ema,
        optimizer_g=optimizer_g,
        optimizer_d=_adam(discriminator, config.train.lr_d, betas),
        regan=Regan(config.regan, generator, ema, optimizer_g),
        rngs=rngs,
        sampler=Sampler(image_count, config.train.batch_size, config.data.flip, rngs["data"]),
        ada=ada_state(config.augment.ada_p, device),
        lecam=lecam_state(device),
        instances=instances,
        group=group,
    )


def _adam(network: nn.Module, rate: float, betas: tuple[float, float]) -> torch.optim.Adam:
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    on_cuda = weights[0].device.type == "cuda"  # a CUDA graph may contain Adam's step
    return torch.optim.Adam(weights, lr=rate, betas=betas, fused=True, capturable=on_cuda)


def accumulate_losses(state: TrainState, scalars: Mapping[str, Tensor]) -> None:
    """Add a step's losses and norms (scalars by name) to `sums` and `counts` of the state."""
    new = {name: value for name, value in scalars.items() if name not in state.sums}
    known = [name for name in scalars if name in state.sums]
    state.sums |= {name: value.clone() for name, value in new.items()}
    if known:
        sums = [state.sums[name] for name in known]
        add_each_(sums, [scalars[name] for name in known])
    for name in scalars:
        state.counts[name] = state.counts.get(name, 0) + 1


def pop_mean_losses(state: TrainState) -> dict[str, float]:
    """Return the means of the losses by name; reset the sums and counts of the state."""
    totals = sums_now(state)
    means = {name: total / state.counts[name] for name, total in totals.items()}
    state.sums, state.counts = {}, {}
    return means


def sums_now(state: TrainState) -> dict[str, float]:
    """Return the sums of the losses by name, as numbers; this waits for the device once."""
    if not state.sums:
        return {}
    values = torch.stack(list(state.sums.values())).tolist()
    return dict(zip(state.sums, values, strict=True))


def update_ema(state: TrainState, share: float | Tensor) -> None:
    """Move G's weight average towards G by `share` of the difference; 0 < share <= 1.

    If the share changes from step to step, it must be a scalar tensor on the device.
    """
    averages: list[Tensor] = list(state.ema.parameters())
    weights: list[Tensor] = list(state.generator.parameters())
    if isinstance(share, float):
        update = get_ema_multi_avg_fn(1 - share)  # type: ignore[no-untyped-call]
        update(averages, weights, state.step)
        return
    with torch.no_grad():
        move_each_(averages, weights, share)


@torch.no_grad()
def recalibrate_ema(state: TrainState, nz: int, batches: int = 4, batch_size: int = 32) -> None:
    """Fit the buffers of G's weight average to its weights; set eval mode.

    The buffers are batch statistics and the vectors of spectral normalisation, which are not
    averaged. First, G's buffers are copied to the weight average. Then `batches` batches of latents
    (`batch_size`, `nz`) pass through the weight average and update its buffers. The latents are the
    same in every evaluation.
    """
    live = dict(state.generator.named_buffers())
    for name, buffer in state.ema.named_buffers():
        buffer.copy_(live[name])
    rng = seeded(0, "calibration")
    device = next(state.ema.parameters()).device
    with fresh_batchnorm_statistics(state.ema):
        for _ in range(batches):
            z_BZ: Tensor = torch.randn(batch_size, nz, generator=rng)
            state.ema(z_BZ.to(device))


@contextlib.contextmanager
def fresh_batchnorm_statistics(network: nn.Module) -> Iterator[None]:
    """Measure new batch statistics of `network` within this context.

    The statistics are the plain means over the batches that pass through the network in the
    context. At the end of the context, the network is in eval mode.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # makes PyTorch compute the plain mean
    network.train()
    yield
    network.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
