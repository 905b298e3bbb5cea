"""The Python interface to a discriminator: load or build a discriminator, and compute logits."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastgan_ray.config.data import Mode
from fastgan_ray.config.model import ModelConfig
from fastgan_ray.config.rules import validated
from fastgan_ray.errors import UserError
from fastgan_ray.models import AnyDiscriminator, build_discriminator, small_size
from fastgan_ray.models.architectures import Setting, picture_channels
from fastgan_ray.models.exported_folder import layout_of
from fastgan_ray.models.published_checkpoint import load_published
from fastgan_ray.train import checkpoint
from fastgan_ray.train.device import choose_device
from fastgan_ray.train.find_checkpoint import Which, find_checkpoint


class Discriminator(nn.Module):
    """A discriminator: a PyTorch module that computes logits of pictures and reconstructs pictures.

    `Discriminator.load` loads a trained discriminator. `Discriminator(resolution=512)` builds a new
    discriminator for training. `settings` are settings of the section `model`, such as
    `resolution`. `seed` is the seed of the initial weights. `mode` is "rgb", "grey" or "rgba",
    for pictures with C = 3, 1 or 4 channels. The attribute `size` is the height and width of a
    picture in pixels.
    """

    network: AnyDiscriminator

    def __init__(self, *, mode: Mode = "rgb", seed: int = 0, **settings: Setting) -> None:
        """Build a new discriminator on the CPU, in training mode.

        Raises ValueError if a setting is not valid.
        """
        super().__init__()
        config = validated(ModelConfig, settings)
        rng = torch.Generator().manual_seed(seed)
        self._take(build_discriminator(config, rng, picture_channels(mode)), config, mode)

    def _take(self, network: AnyDiscriminator, config: ModelConfig, mode: Mode) -> None:
        self.network, self.config, self.mode, self.size = network, config, mode, config.size

    @classmethod
    def load(cls, path: str | Path, device: str = "auto", which: Which = "best") -> Discriminator:
        """Load a trained discriminator in eval mode, with frozen weights.

        `path` is the folder of a run, a checkpoint, or a .pth file of the published FastGAN code.
        `device` is "auto", "cpu", "cuda" or "mps". `which` chooses the best or the last checkpoint
        of a run. Raise UserError if there is no discriminator at `path`.
        """
        network, config, mode = _load(Path(path), which)
        discriminator = cls.__new__(cls)
        nn.Module.__init__(discriminator)
        discriminator._take(network.to(choose_device(device)), config, mode)
        return discriminator.requires_grad_(False).eval()

    def forward(
        self,
        full: Tensor,
        small: Tensor | None = None,
        part: int | Tensor | None = None,
        rng: torch.Generator | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the logits of pictures in [-1, 1], and {decoder name: reconstructed pictures}.

        The logits are (B, L), where L depends on the architecture. `full` (B, C, H, W) and `small`
        (B, C, h, w) are the two outputs of a generator. If `small` is None, as for real pictures,
        this method makes a small copy of `full`. If `part` is None, nothing is reconstructed.
        Otherwise, `part` is the quarter of the picture that the decoder "part" reconstructs: 0 for
        top left, 1 for top right, 2 for bottom left, 3 for bottom right. `rng`, on the pictures'
        device, draws the dropout masks. If `rng` is None, there is no dropout. Raises ValueError if
        the shape of `full` does not fit `size` and `mode`.
        """
        expected = (picture_channels(self.mode), *self.size)
        if full.ndim != 4 or tuple(full.shape[1:]) != expected:
            shape = ", ".join(map(str, expected))
            raise ValueError(f"pictures must have shape (B, {shape}) (got {tuple(full.shape)})")
        if small is None:
            small = F.interpolate(full, size=small_size(self.config))
        logits, reconstructions = self.network(full, small, part, rng)
        return logits, reconstructions


def _load(path: Path, which: Which) -> tuple[AnyDiscriminator, ModelConfig, Mode]:
    if path.is_file():
        published = load_published(path).discriminator
        return published, published.config, "rgb"
    if layout_of(path):
        raise UserError(
            f"{path}: an exported folder has only the generator; give the folder of the run or a "
            "checkpoint"
        )
    folder = find_checkpoint(path, which)
    config = checkpoint.stored_config(folder)
    return checkpoint.load_discriminator(folder), config.model, config.data.mode
