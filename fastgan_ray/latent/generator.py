"""The Python interface to a generator: load or build a generator, and generate pictures."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fastgan_ray.config.data import Mode
from fastgan_ray.config.model import ModelConfig
from fastgan_ray.config.rules import validated
from fastgan_ray.data.grid import save_grid, save_image, to_uint8
from fastgan_ray.latent.load import load_model
from fastgan_ray.latent.sample import generate, latents, require_truncation, sample
from fastgan_ray.models import build_generator
from fastgan_ray.models.architectures import Setting, picture_channels
from fastgan_ray.train.device import choose_device
from fastgan_ray.train.find_checkpoint import Which

Pictures = npt.NDArray[np.uint8]
Latents = npt.NDArray[np.float32]


class Generator(nn.Module):
    """A generator: a PyTorch module that also generates pictures from seeds.

    `Generator.load` loads a trained generator. `Generator(resolution=512)` builds a new generator
    for training. `settings` are settings of the section `model`, such as `resolution`. `seed` is
    the seed of the initial weights. `mode` is "rgb", "grey" or "rgba", for pictures with C = 3,
    1 or 4 channels.

    The attribute `size` is the height and width of a picture in pixels. `nz` is the length of a
    latent. Methods with the argument `seeds` generate one picture for each seed. A seed is an
    integer from 0, and the same seed always gives the same picture. `truncation` is a factor for
    the latents. If it is below 1, pictures vary less and are closer to the average.
    """

    network: nn.Module

    def __init__(self, *, mode: Mode = "rgb", seed: int = 0, **settings: Setting) -> None:
        """Build a new generator on the CPU, in training mode.

        Raises ValueError if a setting is not valid.
        """
        super().__init__()
        config = validated(ModelConfig, settings)
        rng = torch.Generator().manual_seed(seed)
        self._take(build_generator(config, rng, picture_channels(mode)), config, mode)

    def _take(self, network: nn.Module, config: ModelConfig, mode: Mode) -> None:
        self.network, self.config, self.mode = network, config, mode
        self.nz, self.size = config.nz, config.size

    def forward(self, z_BZ: Tensor, rng: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Generate full pictures (B, C, H, W) and small pictures (B, C, h, w) from latents (B, nz).

        The discriminator needs both sizes. The side of a square small picture is half the side of
        the full picture, but at most 128 px. Pixel values are trained to be in [-1, 1], but may
        exceed this range unless the setting `output_activation` is tanh. `rng`, on the latents'
        device, draws the injected noise. If `rng` is None, the noise is fixed. Raises ValueError
        if the latents have another shape.
        """
        if z_BZ.ndim != 2 or z_BZ.shape[1] != self.nz:
            raise ValueError(f"latents must have shape (B, {self.nz}) (got {tuple(z_BZ.shape)})")
        full, small = self.network(z_BZ, rng)
        return full, small

    @classmethod
    def load(cls, path: str | Path, device: str = "auto", which: Which = "best") -> Generator:
        """Load a trained generator in eval mode, with frozen weights.

        `path` is the folder of a run, a checkpoint, an exported folder, or a .pth file of the
        published FastGAN code. `device` is "auto", "cpu", "cuda" or "mps". `which` chooses the best
        or the last checkpoint of a run. Raise UserError if there is no generator at `path`.
        """
        network, config = load_model(Path(path), which)
        generator = cls.__new__(cls)
        nn.Module.__init__(generator)
        generator._take(network.to(choose_device(device)), config.model, config.data.mode)
        return generator.eval()

    def latents(self, seeds: Sequence[int], truncation: float = 1.0) -> Latents:
        """Return the latents of `seeds`, multiplied by `truncation`: float32 (len(seeds), nz).

        Raises UserError if the generator is a StyleGAN2 and `truncation` is not 1.
        """
        require_truncation(self.network, truncation)
        return latents(seeds, self.nz, truncation).numpy()

    def sample(self, seeds: Sequence[int] = range(16), truncation: float = 1.0) -> Pictures:
        """Generate a picture for each seed: uint8 (len(seeds), H, W, C)."""
        return self.draw(self.latents(seeds, truncation))

    def draw(self, z: npt.ArrayLike) -> Pictures:
        """Generate a picture for each latent in `z` (n, nz): uint8 (n, H, W, C).

        Raise ValueError if `z` has another shape or no rows.
        """
        z_NZ = torch.from_numpy(np.array(z, dtype=np.float32))
        if z_NZ.ndim != 2 or z_NZ.shape[1] != self.nz or not len(z_NZ):
            raise ValueError(
                f"latents must have shape (n, {self.nz}), n > 0 (got {tuple(z_NZ.shape)})"
            )
        with _evaluated(self.network):
            parts = [to_uint8(batch) for batch in generate(self.network, z_NZ)]
        return torch.cat(parts).permute(0, 2, 3, 1).contiguous().numpy()

    def save(
        self, folder: str | Path, seeds: Sequence[int] = range(16), truncation: float = 1.0
    ) -> list[Path]:
        """Write a PNG for each seed to `folder`, which is created if missing; return the paths."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        paths = [Path(folder) / f"seed{seed:06d}.png" for seed in seeds]
        for path, picture_CHW in zip(paths, self._sample(seeds, truncation), strict=True):
            save_image(picture_CHW, path)
        return paths

    def grid(
        self, path: str | Path, seeds: Sequence[int] = range(16), truncation: float = 1.0
    ) -> Path:
        """Write one PNG with a grid of the pictures of all seeds; return `path`."""
        save_grid(self._sample(seeds, truncation), Path(path))
        return Path(path)

    def _sample(self, seeds: Sequence[int], truncation: float) -> Tensor:
        require_truncation(self.network, truncation)
        with _evaluated(self.network):
            return sample(self.network, self.nz, seeds, truncation)


@contextlib.contextmanager
def _evaluated(network: nn.Module) -> Iterator[None]:
    """Put `network` in eval mode within this context, so that pictures do not affect each other."""
    training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(training)
