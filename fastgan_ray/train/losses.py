"""Compute adversarial losses and gradient penalties from logits (B, L).

Each loss has a function for D and a function for G; both return a scalar. D's function takes the
logits of real and of generated pictures, and a label for each logit. The labels are drawn from
U(1 - label_noise, 1). G's function takes the logits of generated pictures. If the loss is `paired`,
it also takes the logits of real pictures.

A penalty takes logits (B, L) and the tensors (B, ...) from which they were computed, and returns a
scalar. It uses the gradient of each picture's mean logit. With batch normalisation, a picture's
logits also depend on the other pictures of the batch. Then the penalty uses the gradient of the sum
over the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan_ray.arithmetic import at_least_float32
from fastgan_ray.distributed import ALONE, Group

Penalty = Callable[[Tensor, Sequence[Tensor]], Tensor]
# Added before a square root, whose derivative at 0 is infinite.
_TINY = 1e-12


def hinge_d(real: Tensor, fake: Tensor, label_real: Tensor, label_fake: Tensor) -> Tensor:
    """Compute D's hinge loss, as a scalar; all arguments are (B, L).

    As in the published FastGAN, the labels are the margins.
    """
    return F.relu(label_real - real).mean() + F.relu(label_fake + fake).mean()


def minus_mean_g(fake: Tensor, real: Tensor | None = None) -> Tensor:
    """Compute minus the mean of `fake` (B, L): G's loss for the hinge and Wasserstein losses.

    The result is a scalar. `real` is not used.
    """
    return -fake.mean()


def logistic_d(real: Tensor, fake: Tensor, label_real: Tensor, label_fake: Tensor) -> Tensor:
    """Compute D's non-saturating loss (Goodfellow et al. 2014), as a scalar.

    It is the cross-entropy with soft labels. All arguments are (B, L).
    """
    return F.binary_cross_entropy_with_logits(
        real, label_real
    ) + F.binary_cross_entropy_with_logits(fake, 1 - label_fake)


def logistic_g(fake: Tensor, real: Tensor | None = None) -> Tensor:
    """Compute G's non-saturating loss, -log D(G(z)), from logits (B, L), as a scalar.

    `real` is not used.
    """
    return F.softplus(-fake).mean()


def least_squares_d(real: Tensor, fake: Tensor, label_real: Tensor, label_fake: Tensor) -> Tensor:
    """Compute D's least-squares loss (LSGAN, Mao et al. 2017), as a scalar.

    All arguments are (B, L). The target is `label_real` for real and 1 - `label_fake` for generated
    pictures.
    """
    return 0.5 * ((real - label_real).square().mean() + (fake - (1 - label_fake)).square().mean())


def least_squares_g(fake: Tensor, real: Tensor | None = None) -> Tensor:
    """Compute G's least-squares loss with the target 1 from logits (B, L), as a scalar.

    `real` is not used.
    """
    return 0.5 * (fake - 1).square().mean()


def wasserstein_d(real: Tensor, fake: Tensor, label_real: Tensor, label_fake: Tensor) -> Tensor:
    """Compute the Wasserstein critic's loss (Arjovsky et al. 2017), as a scalar.

    `real` and `fake` are (B, L). The labels are not used.
    """
    return fake.mean() - real.mean()


def relativistic_d(real: Tensor, fake: Tensor, label_real: Tensor, label_fake: Tensor) -> Tensor:
    """Compute D's relativistic loss (RpGAN, Jolicoeur-Martineau 2019), as a scalar.

    R3GAN (arXiv 2501.05441) uses the same loss. The logit of the i-th real picture must be above
    the logit of the i-th generated picture. `real` and `fake` are (B, L). The labels are not used.
    """
    return F.softplus(fake - real).mean()


def relativistic_g(fake: Tensor, real: Tensor | None = None) -> Tensor:
    """Compute G's relativistic loss, as a scalar; `real` and `fake` are (B, L).

    The logit of the i-th generated picture must be above the logit of the i-th real picture.
    """
    assert real is not None
    return F.softplus(real - fake).mean()


def squared_gradient_norms(logits: Tensor, inputs: Sequence[Tensor]) -> Tensor:
    """Compute the squared norm of the gradient of each picture's mean logit: (B,).

    The gradient of `logits` (B, L) is taken with respect to all `inputs`, tensors (B, ...). The
    result has an autograd graph.
    """
    gradients = torch.autograd.grad(
        logits.mean(dim=1).sum(),
        list(inputs),
        create_graph=True,
        materialize_grads=True,  # the gradient is 0 for an input that D does not use
    )
    return torch.stack([at_least_float32(g).square().flatten(1).sum(dim=1) for g in gradients]).sum(
        dim=0
    )


def zero_centred_penalty(logits: Tensor, inputs: Sequence[Tensor]) -> Tensor:
    """Compute half the mean squared gradient norm of `logits` (B, L), as a scalar.

    This is R1 for real pictures and R2 for generated ones (Mescheder et al. 2018). `inputs` are the
    tensors (B, ...) from which the logits were computed.
    """
    return 0.5 * squared_gradient_norms(logits, inputs).mean()


def one_centred_penalty(logits: Tensor, inputs: Sequence[Tensor]) -> Tensor:
    """Compute the mean of (gradient norm - 1)^2 of `logits` (B, L), as a scalar.

    This is the penalty of WGAN-GP (Gulrajani et al. 2017). `inputs` are the tensors (B, ...) from
    which the logits were computed.
    """
    return ((squared_gradient_norms(logits, inputs) + _TINY).sqrt() - 1).square().mean()


def gradient_gap(
    real_logits: Tensor, real: Sequence[Tensor], fake_logits: Tensor, fake: Sequence[Tensor]
) -> Tensor:
    """Compute DigGAN's penalty (Fang et al. 2022), as a scalar.

    It is the mean squared difference between D's gradient norms at real and at generated pictures.
    The i-th real picture is compared with the i-th generated picture. `real_logits` and
    `fake_logits` are (B, L). `real` and `fake` are the tensors (B, ...) from which the logits were
    computed.
    """
    norms = [
        (squared_gradient_norms(logits, inputs) + _TINY).sqrt()
        for logits, inputs in ((real_logits, real), (fake_logits, fake))
    ]
    return (norms[1] - norms[0]).square().mean()


def interpolate(real: Sequence[Tensor], fake: Sequence[Tensor], shares_B: Tensor) -> list[Tensor]:
    """Interpolate between generated pictures (share 0) and real pictures (share 1).

    `real` and `fake` are lists of pictures (B, C, H, W), one entry for each size. `shares_B` has a
    share for each picture; it is the same at all sizes. The results are leaf tensors that require a
    gradient.
    """
    return [
        torch.lerp(at_least_float32(b), at_least_float32(a), shares_B[:, None, None, None])
        .detach()
        .requires_grad_()
        for a, b in zip(real, fake, strict=True)
    ]


def contrastive(first_BK: Tensor, second_BK: Tensor, temperature: float) -> Tensor:
    """Compute the NT-Xent loss (Chen et al. 2020) of two views of each picture, as a scalar.

    `first_BK` and `second_BK` are embeddings (B, K). Row i of both belongs to picture i. For each
    view, the other view of the same picture must be recognised among the 2B - 1 other views. Raises
    ValueError for fewer than two pictures.
    """
    count = len(first_BK)
    if count < 2:
        raise ValueError(f"the contrastive loss needs at least 2 pictures a batch (got {count})")
    views = F.normalize(torch.cat([first_BK, second_BK]), dim=1)
    itself = torch.eye(2 * count, dtype=torch.bool, device=views.device)
    similarities = (views @ views.T / temperature).masked_fill(itself, -torch.inf)
    partners = torch.arange(2 * count, device=views.device).roll(count)
    return F.cross_entropy(similarities, partners)


class Loss(NamedTuple):
    """An adversarial loss: D's and G's functions, and the properties that a step needs."""

    discriminator: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
    generator: Callable[[Tensor, Tensor | None], Tensor]
    paired: bool = False
    """True if G's function also needs the logits of real pictures."""
    penalty: Penalty | None = None
    """The penalty on D's gradients at mixtures of real and generated pictures, if there is one."""
    boundary: float | None = 0.0
    """The logit of an undecided D; None if only differences between logits have a meaning."""


LOSSES: dict[str, Loss] = {
    "hinge": Loss(hinge_d, minus_mean_g),
    "logistic": Loss(logistic_d, logistic_g),
    "least_squares": Loss(least_squares_d, least_squares_g, boundary=0.5),
    "wasserstein": Loss(wasserstein_d, minus_mean_g, penalty=one_centred_penalty, boundary=None),
    "relativistic": Loss(relativistic_d, relativistic_g, paired=True, boundary=None),
}


def top_k_loss(
    loss: Loss, fake: Tensor, real: Tensor | None, share: float | Tensor, group: Group = ALONE
) -> Tensor:
    """Compute G's mean loss over the generated pictures with the highest logits, as a scalar.

    Top-k training (Sinha et al. 2020) ignores the pictures with the lowest logits. Pictures are
    ranked by their mean logits in the batch of all processes of `group`. `fake` and `real` are
    logits (B, L). `real` is None unless the loss is paired. `share` in (0, 1] is the fraction of
    the batch that is used; at least one picture is used. If a schedule sets the fraction, `share`
    is a scalar tensor.
    """
    judged = group.gather(fake.detach().mean(dim=1))
    order = judged.argsort(descending=True, stable=True)
    count: float | Tensor
    if isinstance(share, Tensor):  # the number of pictures is known on the device only
        count = (share * len(judged)).round().clamp(min=1)
        chosen = (order.argsort() < count).to(judged)
    else:
        count = max(1, round(share * len(judged)))
        chosen = torch.zeros_like(judged).index_fill(0, order[:count], 1.0)
    chosen = group.local_rows(chosen)
    each = [
        loss.generator(fake[row : row + 1], None if real is None else real[row : row + 1])
        for row in range(len(fake))
    ]
    # Gradients are averaged over the processes, so each process multiplies by their number.
    return (chosen * torch.stack(each)).sum() * (group.size / count)


def judgements(real: Tensor, fake: Tensor, boundary: float | None) -> dict[str, Tensor]:
    """Compare D's logits with the logit of an undecided D; return three scalars by name.

    `real` and `fake` are logits (B, L) of real and of generated pictures. `boundary` is the logit
    of an undecided D. "sign/fake" is the mean of sign(`fake` - `boundary`). "accuracy/real" is the
    fraction of real logits above `boundary`. "accuracy/fake" is the fraction of generated logits
    below `boundary`. If `boundary` is None, the i-th real and the i-th generated picture are
    compared with each other.
    """
    of_real, of_fake = (fake, real) if boundary is None else (boundary, boundary)
    return {
        "sign/fake": (fake - of_fake).sign().mean(),
        "accuracy/real": (real > of_real).float().mean(),
        "accuracy/fake": (fake < of_fake).float().mean(),
    }


def discriminator_loss(
    real: Tensor,
    fake: Tensor,
    loss: str = "hinge",
    label_noise: float = 0.0,
    rng: torch.Generator | None = None,
) -> Tensor:
    """Compute D's loss from its logits of real and of generated pictures, as a scalar.

    `real` and `fake` are logits (B, ...). `loss` is a key of LOSSES. Labels are drawn from
    U(1 - `label_noise`, 1) with `rng`, on the device of `rng`. If `rng` is None, PyTorch's global
    random number generator is used. The published FastGAN uses the hinge loss with a label noise of
    0.2. The gradient penalty of the loss "wasserstein" is not included; add `one_centred_penalty`
    to the result. Raises ValueError for an unknown loss.
    """
    labels = [
        1 - label_noise * _uniform(logits, rng) if label_noise else torch.ones_like(logits)
        for logits in (real, fake)
    ]
    return _loss(loss).discriminator(real, fake, *labels)


def generator_loss(fake: Tensor, real: Tensor | None = None, loss: str = "hinge") -> Tensor:
    """Compute G's loss from D's logits of generated pictures, as a scalar.

    `fake` and `real` are logits (B, ...) of generated and of real pictures. Only the loss
    "relativistic" needs `real`. Raises ValueError for an unknown loss, or if `real` is missing.
    """
    member = _loss(loss)
    if member.paired and real is None:
        raise ValueError(f"the loss {loss} also needs the logits of real pictures")
    return member.generator(fake, real)


def _loss(name: str) -> Loss:
    if name not in LOSSES:
        raise ValueError(f"loss must be one of {', '.join(LOSSES)} (got {name})")
    return LOSSES[name]


def _uniform(like: Tensor, rng: torch.Generator | None) -> Tensor:
    device = like.device if rng is None else rng.device
    return torch.rand(like.shape, generator=rng, device=device).to(like)
