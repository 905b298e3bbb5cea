"""The Python interface to a generator: load it or build it, and generate pictures."""

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
    """A generator: a PyTorch module that also draws pictures from seeds.

    `Generator.load` loads a trained generator. `Generator(resolution=512)` builds a new one for
    training: `settings` are settings of the section `model`, such as `resolution`, and `seed` is
    the seed of the weights.

    `size` is the height and width of a picture in pixels. `mode` is rgb, grey or rgba; a picture
    has C = 3, 1 or 4 channels. `nz` is the length of a latent. Seeds are integers from 0, and the
    same seed always gives the same picture. `truncation` multiplies the latents: below 1, pictures
    vary less and are closer to the average.
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
        """Generate pictures in [-1, 1] from latents: (B, nz) -> (B, C, H, W) and (B, C, h, w).

        The discriminator gets both sizes. The sides of the smaller picture are half as long, and at
        most 128 px if it is square. `rng` is a generator of random numbers on the latents' device,
        for the injected noise; if it is None, the noise is fixed. Raises ValueError for latents of
        another shape.
        """
        if z_BZ.ndim != 2 or z_BZ.shape[1] != self.nz:
            raise ValueError(f"latents must be (B, {self.nz}) (got {tuple(z_BZ.shape)})")
        full, small = self.network(z_BZ, rng)
        return full, small

    @classmethod
    def load(cls, path: str | Path, device: str = "auto", which: Which = "best") -> Generator:
        """Load a generator from a run's folder, a checkpoint, an exported folder or a .pth file.

        A .pth file must have the format of the published FastGAN code. `device` is auto, cpu, cuda
        or mps. `which` chooses the best or the last checkpoint of a run. Raise UserError if there
        is no generator at `path`.
        """
        network, config = load_model(Path(path), which)
        generator = cls.__new__(cls)
        nn.Module.__init__(generator)
        generator._take(network.to(choose_device(device)), config.model, config.data.mode)
        return generator.eval()

    def latents(self, seeds: Sequence[int], truncation: float = 1.0) -> Latents:
        """Return the latents (n, nz), float32, of seeds.

        Raises UserError for a `truncation` other than 1 if the architecture is stylegan2.
        """
        require_truncation(self.network, truncation)
        return latents(seeds, self.nz, truncation).numpy()

    def sample(self, seeds: Sequence[int] = range(16), truncation: float = 1.0) -> Pictures:
        """Generate pictures (n, H, W, C), uint8, from seeds."""
        return self.draw(self.latents(seeds, truncation))

    def draw(self, z: npt.ArrayLike) -> Pictures:
        """Generate pictures (n, H, W, C), uint8, from latents (n, nz).

        Raise ValueError for latents of another shape, or if n is 0.
        """
        z_NZ = torch.from_numpy(np.array(z, dtype=np.float32))
        if z_NZ.ndim != 2 or z_NZ.shape[1] != self.nz or not len(z_NZ):
            raise ValueError(f"latents must be (n, {self.nz}), n > 0 (got {tuple(z_NZ.shape)})")
        with _evaluated(self.network):
            parts = [to_uint8(batch) for batch in generate(self.network, z_NZ)]
        return torch.cat(parts).permute(0, 2, 3, 1).contiguous().numpy()

    def save(
        self, folder: str | Path, seeds: Sequence[int] = range(16), truncation: float = 1.0
    ) -> list[Path]:
        """Write a PNG for each seed into `folder`, and return the paths. Create missing folders."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        paths = [Path(folder) / f"seed{seed:06d}.png" for seed in seeds]
        for path, picture_CHW in zip(paths, self._sample(seeds, truncation), strict=True):
            save_image(picture_CHW, path)
        return paths

    def grid(
        self, path: str | Path, seeds: Sequence[int] = range(16), truncation: float = 1.0
    ) -> Path:
        """Write a grid with the pictures of seeds as one PNG; return its path."""
        save_grid(self._sample(seeds, truncation), Path(path))
        return Path(path)

    def _sample(self, seeds: Sequence[int], truncation: float) -> Tensor:
        require_truncation(self.network, truncation)
        with _evaluated(self.network):
            return sample(self.network, self.nz, seeds, truncation)


@contextlib.contextmanager
def _evaluated(network: nn.Module) -> Iterator[None]:
    """Keep a network in eval mode, so that a picture depends only on its own latent."""
    training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(training)
