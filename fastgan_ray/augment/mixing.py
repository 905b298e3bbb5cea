"""Mix real and generated pictures before D sees them: APA and ANDA.

Both operations make it harder for D to distinguish real and generated pictures. Each picture is
changed with the adaptive probability p (see `ada`), before all other operations of the policy.
Pictures are (B, C, H, W) in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Parameters = dict[str, Tensor]

REAL_SHARE = 0.2  # the share of the real picture in ANDA's mixture


def draw(count: int, rng: torch.Generator) -> Parameters:
    """Draw a number from U(0, 1) for each of `count` pictures; `gate` compares it with p."""
    return {"uniform": torch.rand(count, generator=rng)}


def gate(drawn: Parameters, p: Tensor | float) -> Parameters:
    """Choose each picture with probability p; return {"chosen": (B,) bool}.

    `drawn` is a result of `draw`.
    """
    return {"chosen": drawn["uniform"] < p}


def pseudo_real(real_BCHW: Tensor, fake_BCHW: Tensor, chosen_B: Tensor) -> Tensor:
    """Replace the chosen real pictures by generated ones (APA, Jiang et al. 2021).

    D then learns that these generated pictures are real. No gradient flows through them to G.
    `fake_BCHW` are the generated pictures on which D trains at the same time. The published code
    instead takes pictures from G's last step.
    """
    return torch.where(chosen_B[:, None, None, None], fake_BCHW.detach().to(real_BCHW), real_BCHW)


def augmented_negatives(
    fakes: Sequence[Tensor], real_BCHW: Tensor, chosen_B: Tensor
) -> list[Tensor]:
    """Replace the chosen generated pictures by mixtures with real ones (ANDA, Zhang et al. 2024).

    A mixture is 0.8 x a generated picture + 0.2 x a real picture. `fakes` are the generated
    pictures at several sizes, (B, C, h, w) each. The result has the same sizes and no gradient,
    because only D is trained on it.
    """
    mixtures = []
    for fake in fakes:
        fake = fake.detach()
        real = F.interpolate(real_BCHW, size=fake.shape[-2:]).to(fake)
        mixture = torch.lerp(fake, real, REAL_SHARE)
        mixtures.append(torch.where(chosen_B[:, None, None, None], mixture, fake))
    return mixtures
