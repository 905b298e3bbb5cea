"""One training step: D on real and generated pictures, once or more, then G on the last of these.

D sees a picture at two sizes, [full (B, 3, R, R), small (B, 3, r, r)], both augmented alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils import get_total_norm

from fastgan_ray.augment import ada, pipeline
from fastgan_ray.config.run_config import ModelConfig, RunConfig
from fastgan_ray.models import crop_part, small_resolution
from fastgan_ray.train import losses
from fastgan_ray.train.losses import LOSSES, at_least_float32
from fastgan_ray.train.rng import seed_device_streams
from fastgan_ray.train.state import TrainState, update_ema

Distance = Callable[[Tensor, Tensor], Tensor]
Scalars = dict[str, Tensor]
CENTRE = 4  # `crop_part`'s number of the middle; 0..3 are the quadrants


def train_step(
    state: TrainState,
    batches: Sequence[Tensor],
    config: RunConfig,
    distance: Distance,
    bf16: bool = False,
) -> Scalars:
    """Advance `state` by one step; the losses and gradients' norms by name, of D's last step.

    `batches` are `train.d_steps` of real pictures, (B, 3, R, R) in [-1, 1]; of a group, this
    process's share of them.
    """
    assert len(batches) == config.train.d_steps
    state.regan.begin_step(state.step * config.train.images_per_step)
    seed_device_streams(state.rngs, config.train.seed, state.step)
    scalars: Scalars = {}
    for index, pictures in enumerate(batches):
        for_g = index == len(batches) - 1
        with torch.autocast(pictures.device.type, torch.bfloat16, enabled=bf16):
            with torch.set_grad_enabled(for_g):
                fake = generate(state, len(pictures), config, pictures.device)
            real = augment_real(state, pictures, config)
            turn = state.step * len(batches) + index
            loss_d, parts = discriminator_loss(state, real, fake, turn, config, distance)
            if config.model.contrasts:
                parts["loss/contrastive"] = contrastive_loss(state, pictures, config)
                loss_d = loss_d + config.train.contrastive_weight * parts["loss/contrastive"]
        scalars |= (parts := _backward(state, state.optimizer_d, loss_d, "grad/d", parts))
        state.optimizer_d.step()
        adapt(state, parts["sign/real"], len(pictures), config)
    state.discriminator.requires_grad_(False)
    with torch.autocast(fake[0].device.type, torch.bfloat16, enabled=bf16):
        loss_g = generator_loss(state, real, fake, config)
    scalars |= _backward(state, state.optimizer_g, loss_g, "grad/g", {"loss/g": loss_g})
    state.regan.mask_gradients()
    state.optimizer_g.step()
    state.discriminator.requires_grad_(True)
    state.step += 1
    update_ema(state, config)
    return scalars


def generate(
    state: TrainState, count: int, config: RunConfig, device: torch.device
) -> list[Tensor]:
    """G's two outputs on fresh latents, as D sees them."""
    size = (state.group.size * count, config.model.nz)
    z_BZ = state.group.local_rows(torch.randn(size, generator=state.rngs["latents"])).to(device)
    outputs = state.generator(z_BZ, state.rngs["noise"])
    return augmented(outputs, state, "augment", config)


def augment_real(state: TrainState, pictures: Tensor, config: RunConfig) -> list[Tensor]:
    """Real pictures as D sees them."""
    (full,) = augmented([pictures], state, "augment", config)
    return [full, F.interpolate(full, size=small_resolution(config.model.resolution))]


def augmented(
    images: Sequence[Tensor], state: TrainState, stream: str, config: RunConfig
) -> list[Tensor]:
    """The same pictures at any number of sizes, all under one augmentation draw."""
    count = state.group.size * len(images[0])
    drawn = pipeline.draw(config.augment, count, state.rngs[stream], state.ada.p)
    drawn = pipeline.each(drawn, state.group.local_rows)
    return [pipeline.apply(image, drawn) for image in images]


def adapt(state: TrainState, sign: Tensor, count: int, config: RunConfig) -> None:
    """Let the augmentation's probability follow D's signs on `count` real pictures."""
    if ada.adaptive(config.augment):  # to look at the sign waits for the device
        state.ada = ada.update(state.ada, float(sign), state.group.size * count, config.augment)


def discriminator_loss(
    state: TrainState,
    real: Sequence[Tensor],
    fake: Sequence[Tensor],
    turn: int,
    config: RunConfig,
    distance: Distance,
) -> tuple[Tensor, Scalars]:
    """D's loss with a graph, and its parts; `turn` counts D's steps from 0."""
    train, loss, rng = config.train, LOSSES[config.train.loss], state.rngs["dropout"]
    gammas = {"r1": train.r1_gamma, "r2": train.r2_gamma}
    due = [name for name in gammas if gammas[name] > 0 and turn % train.r1_interval == 0]
    real = [image.detach().requires_grad_("r1" in due) for image in real]
    fake = [image.detach().requires_grad_("r2" in due) for image in fake]
    part = _draw_part(state, config.model)
    real_logits, decoded = state.discriminator(*real, part, rng)
    fake_logits, _ = state.discriminator(*fake, rng=rng)
    real_logits, fake_logits = at_least_float32(real_logits), at_least_float32(fake_logits)
    labels = _draw_labels(state, real_logits, train.label_noise)
    boundary = fake_logits if loss.boundary is None else loss.boundary
    terms = {"d": (1.0, loss.discriminator(real_logits, fake_logits, labels[0], labels[1]))}
    if decoded:
        summed = train.reconstruction_reduction == "sum"
        count = state.group.size * len(real_logits) if summed else 1
        error = reconstruction_error(real[0].detach(), decoded, part, distance)
        terms["reconstruction"] = (count * train.reconstruction_weight, error)
    seen = {"r1": (real_logits, real), "r2": (fake_logits, fake)}
    for name in due:
        penalty = losses.zero_centred_penalty(*seen[name])
        terms[name] = (gammas[name] * train.r1_interval, penalty)
    if loss.penalty is not None:
        between = losses.interpolate(real, fake, _draw_shares(state, len(real_logits)))
        logits = at_least_float32(state.discriminator(*between, rng=rng)[0])
        terms["gp"] = (train.gp_weight, loss.penalty(logits, between))
    total = torch.stack([weight * value for weight, value in terms.values()]).sum()
    return total, {
        **{f"loss/{name}": value for name, (_, value) in terms.items()},
        "logits/real": real_logits.mean(),
        "logits/fake": fake_logits.mean(),
        "sign/real": (real_logits - boundary).sign().mean(),
    }


def generator_loss(
    state: TrainState, real: Sequence[Tensor], fake: Sequence[Tensor], config: RunConfig
) -> Tensor:
    """G's loss with a graph; D looks at the real pictures again only if the loss pairs them."""
    loss, rng = LOSSES[config.train.loss], state.rngs["dropout"]
    real_logits = None
    if loss.paired:
        with torch.no_grad():
            real_logits = at_least_float32(state.discriminator(*real, rng=rng)[0])
    fake_logits, _ = state.discriminator(*fake, rng=rng)
    return loss.generator(at_least_float32(fake_logits), real_logits)


def contrastive_loss(state: TrainState, pictures: Tensor, config: RunConfig) -> Tensor:
    """How well D tells two augmented views of one real picture from those of the others."""
    views = [augmented([pictures], state, "contrastive", config)[0] for _ in range(2)]
    first, second = at_least_float32(state.discriminator.embed(torch.cat(views))).chunk(2)
    gather = state.group.gather  # the others' pictures are to be told from as well
    return losses.contrastive(gather(first), gather(second), config.train.contrastive_temperature)


def reconstruction_error(
    real: Tensor, decoded: dict[str, Tensor], part: int, distance: Distance
) -> Tensor:
    """The sum over decoders of the mean distance to the (augmented) picture, or to its part."""
    whole = [picture for name, picture in decoded.items() if name != "part"]
    parts = [picture for name, picture in decoded.items() if name == "part"]
    errors = []
    for pictures in filter(None, (whole, parts)):
        source = crop_part(real, part) if pictures is parts else real
        target = F.interpolate(source, size=pictures[0].shape[-2:])
        # All have the same size and count: the mean times their number is the sum of their means.
        errors.append(len(pictures) * distance(torch.cat(pictures), target))
    return torch.stack(errors).sum()


def _draw_part(state: TrainState, model: ModelConfig) -> int:
    if model.decode_part == "random":
        return int(torch.randint(4, (), generator=state.rngs["part"]))
    return CENTRE


def _draw_shares(state: TrainState, count: int) -> Tensor:
    draw = torch.rand(state.group.size * count, generator=state.rngs["interpolates"])
    return state.group.local_rows(draw)


def _draw_labels(state: TrainState, logits: Tensor, noise: float) -> Tensor:
    """(2, B, L): for the real and for the generated pictures' logits."""
    size = (2, state.group.size * logits.shape[0], logits.shape[1])
    draw = state.group.local_rows(torch.rand(size, generator=state.rngs["labels"]), dim=1)
    return 1 - noise * draw.to(logits.device)


def _backward(
    state: TrainState, optimizer: torch.optim.Optimizer, loss: Tensor, norm: str, parts: Scalars
) -> Scalars:
    """Set the gradients; `parts` and, by the name `norm`, the Euclidean norm of all gradients.

    Gradients and parts are the means over the group.
    """
    optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    weights: list[Tensor] = optimizer.param_groups[0]["params"]
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    parts = {name: value.detach() for name, value in parts.items()}
    state.group.average_([*gradients, *parts.values()])
    return {**parts, norm: get_total_norm(gradients)}
