"""The Python interface to a trained generator: load it, and generate pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.data.grid import save_grid, save_image, to_uint8
from fastgan_ray.latent.load import Which, load_model
from fastgan_ray.latent.sample import generate, latents, sample
from fastgan_ray.train.device import choose_device

Pictures = npt.NDArray[np.uint8]
Latents = npt.NDArray[np.float32]


class Generator:
    """A trained generator. The same seed always gives the same picture.

    `size` is the height and width of a picture in pixels. `mode` is rgb, grey or rgba; a picture
    has C = 3, 1 or 4 channels. `nz` is the length of a latent. Seeds are integers from 0.
    `truncation` multiplies the latents: below 1, pictures vary less and are closer to the average.
    """

    def __init__(self, network: nn.Module, config: RunConfig) -> None:
        self.network = network
        self.nz = config.model.nz
        self.size = config.model.size
        self.mode = config.data.mode

    @classmethod
    def load(cls, path: str | Path, device: str = "auto", which: Which = "best") -> Generator:
        """Load a run's folder, a checkpoint, an exported folder or a published .pth file.

        `device` is auto, cpu, cuda or mps. `which` chooses the best or the last checkpoint of a
        run. Raise UserError if there is no generator at `path`.
        """
        network, config = load_model(Path(path), which)
        return cls(network.to(choose_device(device)), config)

    def latents(self, seeds: Sequence[int], truncation: float = 1.0) -> Latents:
        """Return the latents (n, nz), float32, of seeds."""
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

    def _sample(self, seeds: Sequence[int], truncation: float) -> torch.Tensor:
        return sample(self.network, self.nz, seeds, truncation)
