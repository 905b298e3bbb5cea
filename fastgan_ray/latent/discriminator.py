"""The Python interface to a discriminator: load it or build it, and compute logits."""

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
    one for training: `settings` are settings of the section `model`, such as `resolution`, and
    `seed` is the seed of the weights. `size` is the height and width of a picture in pixels. `mode`
    is rgb, grey or rgba; a picture has C = 3, 1 or 4 channels.
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
        """Load the discriminator of a run's folder, a checkpoint or a published .pth file.

        The discriminator is in eval mode and frozen. `device` is auto, cpu, cuda or mps. `which`
        chooses the best or the last checkpoint of a run. Raise UserError if there is no
        discriminator at `path`.
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
        """Compute the logits (B, L) of pictures in [-1, 1], and each decoder's reconstruction.

        `full` (B, C, H, W) and `small` (B, C, h, w) are the two outputs of a generator. If `small`
        is None, as for real pictures, a smaller copy of `full` is used. If `part` is None, the
        decoders are not used. Otherwise, `part` (0 to 3) is the quarter of the picture that the
        decoder "part" reconstructs. `rng` is a generator of random numbers on the pictures' device,
        for the dropout masks; if it is None, there is no dropout. Raises ValueError for pictures of
        another size.
        """
        expected = (picture_channels(self.mode), *self.size)
        if full.ndim != 4 or tuple(full.shape[1:]) != expected:
            shape = ", ".join(map(str, expected))
            raise ValueError(f"pictures must be (B, {shape}) (got {tuple(full.shape)})")
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
            f"{path}: an exported folder has only the generator; name the run's folder or its "
            "checkpoint"
        )
    folder = find_checkpoint(path, which)
    config = checkpoint.stored_config(folder)
    return checkpoint.load_discriminator(folder), config.model, config.data.mode
