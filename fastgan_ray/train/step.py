"""One training step of FastGAN: D on real and generated pictures, then G on the same pictures."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan_ray.augment import diffaugment
from fastgan_ray.config.schema import ModelConfig, RunConfig
from fastgan_ray.models import crop_part, small_resolution
from fastgan_ray.train.losses import LOSSES, r1_penalty
from fastgan_ray.train.state import TrainState, update_average

Distance = Callable[[Tensor, Tensor], Tensor]
Scalars = dict[str, Tensor]
CENTRE = 4  # `crop_part`'s number of the middle; 0..3 are the quadrants


def train_step(
    state: TrainState, real: Tensor, config: RunConfig, distance: Distance, bf16: bool = False
) -> Scalars:
    """Advance `state` by one step on `real` (B, 3, R, R) in [-1, 1]; the losses by name."""
    device = real.device.type
    with torch.autocast(device, torch.bfloat16, enabled=bf16):
        fake = generate(state, len(real), config, real.device)
        loss_d, scalars = discriminator_loss(
            state, real, [image.detach() for image in fake], config, distance
        )
    _update(state.optimizer_d, loss_d)
    state.discriminator.requires_grad_(False)
    with torch.autocast(device, torch.bfloat16, enabled=bf16):
        fake_logits, _ = state.discriminator(*fake)
        loss_g = LOSSES[config.train.loss].generator(fake_logits.float())
    _update(state.optimizer_g, loss_g)
    state.discriminator.requires_grad_(True)
    state.step += 1
    update_average(state, config)
    return {"loss/g": loss_g.detach()} | scalars


def generate(
    state: TrainState, count: int, config: RunConfig, device: torch.device
) -> list[Tensor]:
    """G's two outputs on fresh latents, both under the same augmentation draw."""
    z_BZ = torch.randn(count, config.model.nz, generator=state.rngs["latents"]).to(device)
    draw = diffaugment.draw(config.augment, count, state.rngs["augment"])
    outputs = state.generator(z_BZ, state.rngs["noise"])
    return [diffaugment.apply(image, draw, config.augment) for image in outputs]


def discriminator_loss(
    state: TrainState, real: Tensor, fake: list[Tensor], config: RunConfig, distance: Distance
) -> tuple[Tensor, Scalars]:
    """D's loss with a graph, and its parts without one."""
    train = config.train
    penalise = train.r1_gamma > 0 and state.step % train.r1_interval == 0
    draw = diffaugment.draw(config.augment, len(real), state.rngs["augment"])
    real = diffaugment.apply(real, draw, config.augment).requires_grad_(penalise)
    part = _draw_part(state, config.model)
    small = F.interpolate(real, size=small_resolution(config.model.resolution))
    real_logits, decoded = state.discriminator(real, small, part)
    fake_logits, _ = state.discriminator(*fake)
    real_logits, fake_logits = real_logits.float(), fake_logits.float()
    noise = torch.rand((2, *real_logits.shape), generator=state.rngs["labels"])
    labels = 1 - train.label_noise * noise.to(real.device)
    total = LOSSES[train.loss].discriminator(real_logits, fake_logits, labels[0], labels[1])
    scalars = {
        "loss/d": total,
        "logits/real": real_logits.mean(),
        "logits/fake": fake_logits.mean(),
        "sign/real": real_logits.sign().mean(),
    }
    if decoded:
        error = reconstruction_error(real.detach(), decoded, part, distance)
        scalars["loss/reconstruction"] = error
        total = total + train.reconstruction_weight * error
    if penalise:
        scalars["loss/r1"] = r1_penalty(real_logits, real)
        total = total + train.r1_gamma * train.r1_interval * scalars["loss/r1"]
    return total, {name: value.detach() for name, value in scalars.items()}


def reconstruction_error(
    real: Tensor, decoded: dict[str, Tensor], part: int, distance: Distance
) -> Tensor:
    """The sum over decoders of the mean distance to the (augmented) picture, or to its part."""
    targets = [crop_part(real, part) if name == "part" else real for name in decoded]
    sized = [
        F.interpolate(target, size=picture.shape[-2:])
        for target, picture in zip(targets, decoded.values(), strict=True)
    ]
    # One call for all decoders: they have the same size and count, so the mean times their
    # number is the sum of their means.
    return len(sized) * distance(torch.cat(list(decoded.values())), torch.cat(sized))


def _draw_part(state: TrainState, model: ModelConfig) -> int:
    if model.decode_part == "random":
        return int(torch.randint(4, (), generator=state.rngs["part"]))
    return CENTRE


def _update(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
