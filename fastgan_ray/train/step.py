"""One training step: D one or more times, then G once; the sum of all terms of their losses.

G's loss uses the generated pictures of D's last turn. A step depends only on the state, the
pictures and the random draws (see `draws`), and it never waits for the device. D sees each picture
at two sizes with the same augmentation: full (B, C, H, W) and small (B, C, h, w). Under autocast
the networks compute in bfloat16; D's inputs and all losses are in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils import get_total_norm

from fastgan_ray.arithmetic import at_least_float32
from fastgan_ray.augment import ada
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.models import crop_part
from fastgan_ray.train import alignment, consistency, lecam, losses, mixdl, self_supervision
from fastgan_ray.train.draws import CENTRE, Draws, Turn, ema_share
from fastgan_ray.train.losses import LOSSES
from fastgan_ray.train.rng import seed_device_streams
from fastgan_ray.train.schedules import config_at, set_decays, set_rates, with_numbers
from fastgan_ray.train.state import TrainState, update_ema
from fastgan_ray.train.views import Views, views_of

Distance = Callable[[Tensor, Tensor], Tensor]
Scalars = dict[str, Tensor]


def train_step(
    state: TrainState,
    draws: Draws,
    batches: Sequence[Tensor],
    config: RunConfig,
    distance: Distance,
    bf16: bool = False,
) -> Scalars:
    """Advance `state` by one step; return losses, mean logits and gradient norms by name.

    D trains in `train.d_steps` turns. If several turns compute a value, the value of the last of
    these turns is returned. `draws` are on the device. `batches` has a batch of real pictures for
    each turn, (B, C, H, W) in [-1, 1]. With several processes, each process passes only its own
    part of each batch. `distance` compares decoded pictures with targets (see `perceptual`).
    """
    begin_step(state, config)
    scalars = compute_step(state, draws, batches, config, distance, bf16)
    state.step += 1
    return scalars


def begin_step(state: TrainState, config: RunConfig) -> None:
    """Prepare a step before it is computed on the device.

    Enter the step's phase of Re-GAN, and seed the random generators of the device. If a schedule
    changes the decays of the optimisers, set them.
    """
    now = config_at(config, state.step)
    state.regan.begin_step(state.step * config.train.images_per_step, now.regan)
    set_decays(state, now.train)
    seed_device_streams(state.rngs, config.train.seed, state.step)


def compute_step(
    state: TrainState,
    draws: Draws,
    batches: Sequence[Tensor],
    config: RunConfig,
    distance: Distance,
    bf16: bool,
) -> Scalars:
    """Compute a step on the device; return losses, mean logits and gradient norms by name.

    The step can be captured as a CUDA graph. The arguments are the same as in `train_step`. The
    values of scheduled settings are scalar tensors in `draws`.
    """
    config = with_numbers(config, draws.numbers)
    set_rates(state, config)
    assert len(batches) == len(draws.turns) == config.train.d_steps
    scalars: Scalars = {}
    due = penalties_due(state, config)
    for index, (pictures, turn) in enumerate(zip(batches, draws.turns, strict=True)):
        for_g = index == len(batches) - 1
        autocast = torch.autocast(pictures.device.type, torch.bfloat16, enabled=bf16)
        with autocast, state.discriminator.keeping_maps(alignment.is_on(config)) as real_maps:
            views = views_of(state, pictures, turn, config, with_graph=for_g)
            loss_d, parts = discriminator_loss(state, views, turn, due[index], config, distance)
            if config.model.task == "contrastive":
                parts["loss/contrastive"] = self_supervision.contrastive_loss(
                    state, pictures, turn, config
                )
                loss_d = loss_d + config.train.contrastive_weight * parts["loss/contrastive"]
        scalars |= (parts := _backward(state, state.optimizer_d, loss_d, "grad/d", parts))
        state.optimizer_d.step()
        adapt(state, parts["sign/real"], config)
        if not for_g:
            self_supervision.end_turn(state, views, config)
    _set_requires_grad(state.optimizer_d, False)
    with torch.autocast(views.fake[0].device.type, torch.bfloat16, enabled=bf16):
        loss_g = generator_loss(state, views, config, real_maps)
    scalars |= _backward(state, state.optimizer_g, loss_g, "grad/g", {"loss/g": loss_g})
    state.regan.mask_gradients()
    state.optimizer_g.step()
    self_supervision.end_turn(state, views, config)
    _set_requires_grad(state.optimizer_d, True)
    varies = config.train.largest("ema_rampup") > 0 or config.train.changes("ema_halflife_kimg")
    update_ema(state, draws.ema_share if varies else ema_share(config, state.step + 1))
    return scalars


def _set_requires_grad(optimizer: torch.optim.Optimizer, value: bool) -> None:
    """Set `requires_grad` of the weights that an optimiser trains, but not of frozen weights."""
    weights: list[Tensor] = optimizer.param_groups[0]["params"]
    for weight in weights:
        weight.requires_grad_(value)


def penalties_due(state: TrainState, config: RunConfig) -> tuple[bool, ...]:
    """Return, for each turn of D in the next step, whether R1 and R2 are computed.

    In a turn, D trains once on one batch.
    """
    train = config.train
    first = state.step * train.d_steps
    are_on = max(train.largest("r1_gamma"), train.largest("r2_gamma")) > 0
    turns = range(first, first + train.d_steps)
    return tuple(are_on and turn % train.r1_interval == 0 for turn in turns)


def adapt(state: TrainState, sign: Tensor, config: RunConfig) -> None:
    """Update the probabilities p of the adaptive augmentation and of CHAIN, on the device.

    `sign` is the mean sign of D's logits of a batch of real pictures, a scalar from -1 to 1.
    """
    if state.discriminator.chain is not None:
        train = config.train
        first = round(train.chain_start_kimg * 1000 / train.batch_size)
        state.discriminator.chain.adapt(sign, train.chain_target, first)
    if ada.adaptive(config.augment):
        changed = ada.update(state.ada, sign, config.train.batch_size, config.augment)
        for name, value in vars(state.ada).items():
            value.copy_(getattr(changed, name))


def discriminator_loss(
    state: TrainState,
    views: Views,
    turn: Turn,
    is_due: bool,
    config: RunConfig,
    distance: Distance,
) -> tuple[Tensor, Scalars]:
    """Compute D's loss, with its autograd graph; also return numbers to log by name.

    The numbers are the terms of the loss without weights, mean logits, and the mean sign of the
    real logits. If the training has a log, they also include `losses.judgements`. If `is_due`, the
    loss includes R1 and R2. A penalty whose weight (gamma) is always 0 is left out.
    """
    train, loss, rng = config.train, LOSSES[config.train.loss], state.rngs["dropout"]
    gammas = {"r1": train.r1_gamma, "r2": train.r2_gamma}
    due = [name for name in gammas if train.largest(f"{name}_gamma") > 0 and is_due]
    has_gap = train.largest("gradient_gap_weight") > 0
    real = [image.detach().requires_grad_(has_gap or "r1" in due) for image in views.real]
    fake = [image.detach().requires_grad_(has_gap or "r2" in due) for image in views.fake_for_d]
    part = turn.part if config.model.decode_part == "random" else CENTRE
    keeping = state.discriminator.keeping_features()
    with state.discriminator.collecting() as of_chain, keeping as features:
        real_logits, decoded = state.discriminator(*real, part, rng)
        fake_logits, _ = state.discriminator(*fake, rng=rng)
    real_logits, fake_logits = at_least_float32(real_logits), at_least_float32(fake_logits)
    boundary = fake_logits if loss.boundary is None else loss.boundary
    terms = {"d": (1.0, loss.discriminator(real_logits, fake_logits, *turn.labels.unbind()))}
    if decoded:
        summed = train.reconstruction_reduction == "sum"
        count = train.batch_size if summed else 1
        error = reconstruction_error(real[0].detach(), decoded, part, distance)
        terms["reconstruction"] = (count * train.reconstruction_weight, error)
    penalised = {"r1": (real_logits, real), "r2": (fake_logits, fake)}
    for name in due:
        penalty = losses.zero_centred_penalty(*penalised[name])
        terms[name] = (gammas[name] * train.r1_interval, penalty)
    if has_gap:
        gap = losses.gradient_gap(real_logits, real, fake_logits, fake)
        terms["gradient_gap"] = (train.gradient_gap_weight, gap)
    if train.largest("lecam_weight") > 0:
        _update_lecam(state, real_logits, fake_logits, train.lecam_decay)
        penalty = lecam.penalty(real_logits, fake_logits, state.lecam)
        terms["lecam"] = (train.lecam_weight, penalty)
    if (chain := state.discriminator.chain) is not None:
        terms["chain"] = (train.chain_weight, chain.penalty(of_chain, train.chain_min_p))
    terms |= consistency.d_terms(state, views, real_logits, fake_logits, train)
    terms |= self_supervision.d_terms(state, views, features, config)
    if views.mixed:
        pictures = views.mixed[0], views.fake[0].detach()
        term = mixdl.discriminator_term(state.discriminator, *pictures, views.mixtures, state.group)
        terms["mixdl_d"] = (train.mixdl_d_weight * train.mixdl_interval, term)
    if loss.penalty is not None:
        between = losses.interpolate(real, fake, turn.shares)
        logits = at_least_float32(state.discriminator(*between, rng=rng)[0])
        terms["gp"] = (train.gp_weight, loss.penalty(logits, between))
    total = torch.stack([weight * value for weight, value in terms.values()]).sum()
    return total, {
        **{f"loss/{name}": value for name, (_, value) in terms.items()},
        "logits/real": real_logits.mean(),
        "logits/fake": fake_logits.mean(),
        "sign/real": (real_logits - boundary).sign().mean(),
        **(
            losses.judgements(real_logits, fake_logits, loss.boundary)
            if train.log_every_kimg
            else {}
        ),
    }


def _update_lecam(state: TrainState, real: Tensor, fake: Tensor, decay: float) -> None:
    """Update LeCam's averages in place with D's logits (B, L), averaged over all processes."""
    means = torch.stack([real.mean(), fake.mean()]).detach()
    state.group.average_([means])
    changed = lecam.update(state.lecam, means, decay)
    for name, value in vars(state.lecam).items():
        value.copy_(getattr(changed, name))


def generator_loss(
    state: TrainState, views: Views, config: RunConfig, real_maps: Sequence[Tensor] = ()
) -> Tensor:
    """Compute G's loss, a scalar with its autograd graph.

    `real_maps` are D's feature maps of the real pictures (see `keeping_maps`), for the alignment. D
    processes the real pictures again only if the loss is `paired`.
    """
    loss, train, rng = LOSSES[config.train.loss], config.train, state.rngs["dropout"]
    real_logits = None
    if loss.paired:
        with torch.no_grad():
            real_logits = at_least_float32(state.discriminator(*views.real, rng=rng)[0])
    with state.discriminator.keeping_features() as features:
        fake_logits = at_least_float32(state.discriminator(*views.fake, rng=rng)[0])
    if train.changes("top_k") or train.top_k < 1:
        value = losses.top_k_loss(loss, fake_logits, real_logits, train.top_k, state.group)
    else:
        value = loss.generator(fake_logits, real_logits)
    if train.largest("zcr_g_weight") > 0:
        sensitivity = consistency.latent_sensitivity(views.outputs, views.near_outputs)
        value = value + train.zcr_g_weight * sensitivity
    if views.mixed_features:
        term = mixdl.generator_term(
            views.mixed_features, views.features, views.mixtures, state.group
        )
        value = value + train.mixdl_g_weight * train.mixdl_interval * term
    if alignment.is_on(config):
        generated = views.features[: len(real_maps)]
        value = value + train.alignment_weight * alignment.distance(generated, real_maps)
    task_term = self_supervision.g_term(state, views, features, config)
    return value if task_term is None else value + task_term


def reconstruction_error(
    real: Tensor, decoded: dict[str, Tensor], part: int | Tensor, distance: Distance
) -> Tensor:
    """Compute the mean distance of decoded pictures from their targets, summed over decoders.

    `decoded` has the output of each decoder by name. `real` are the augmented pictures (B, C, H,
    W). The targets are the resized `real` pictures. For the decoder "part", the pictures are first
    cropped to the part with the number `part` (see `crop_part`).
    """
    whole = [picture for name, picture in decoded.items() if name != "part"]
    parts = [picture for name, picture in decoded.items() if name == "part"]
    errors = []
    for pictures in filter(None, (whole, parts)):
        source = crop_part(real, part) if pictures is parts else real
        target = F.interpolate(source, size=pictures[0].shape[-2:])
        # Decoded pictures have the same size, so the sum of their means is their number times the
        # overall mean.
        error = distance(at_least_float32(torch.cat(pictures)), target)
        errors.append(len(pictures) * error)
    return torch.stack(errors).sum()


def _backward(
    state: TrainState, optimizer: torch.optim.Optimizer, loss: Tensor, norm: str, parts: Scalars
) -> Scalars:
    """Compute the gradients of `loss`; return the scalars to log by name.

    The scalars are the values in `parts` (e.g. terms of the loss), and the norm of the gradients
    under the key `norm`. The gradients and `parts` are averaged over the processes of the group.
    """
    optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    weights: list[Tensor] = optimizer.param_groups[0]["params"]
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    parts = {name: value.detach() for name, value in parts.items()}
    state.group.average_([*gradients, *parts.values()])
    return {**parts, norm: total_norm(gradients)}


def total_norm(gradients: list[Tensor]) -> Tensor:
    """Compute the Euclidean norm of all gradients together."""
    return get_total_norm(gradients)
