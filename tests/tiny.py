"""The smallest real training: a 32 px network on a handful of made-up pictures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.train.loop import train

SETTINGS = {
    "model.resolution": 32,
    "model.ngf": 4,
    "model.ndf": 4,
    "model.nz": 8,
    "model.decoder_width": 2,
    "train.reconstruction": "l1",
    "train.batch_size": 4,
    "train.total_kimg": 0.016,
    "eval.extractor": "efficientnet_lite0",
    "eval.num_fakes": 4,
    "eval.every_kimg": 0.008,
}


def write_pictures(folder: Path, count: int, seed: int = 0) -> Path:
    """Coloured clouds, 40 px; the folder."""
    noise = np.random.default_rng(seed)
    for index in range(count):
        pixels = noise.integers(0, 255, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((40, 40)).save(folder / f"{index}.PNG")
    return folder


def config(**changes: Any) -> RunConfig:
    """The smallest settings but for `changes`, by dotted name."""
    return RunConfig.model_validate({**SETTINGS, **changes})


class Recorder:
    """A reporter that keeps the rows of a training."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: list[dict[str, Any]] = []
        self.numbers: list[dict[str, Any]] = []
        folder.mkdir(parents=True, exist_ok=True)

    def report(self, metrics: Mapping[str, Any], checkpoint: Path) -> None:
        """Keep an evaluation."""
        self.rows.append(dict(metrics))

    def log(self, numbers: Mapping[str, Any]) -> None:
        """Keep training numbers."""
        self.numbers.append(dict(numbers))

    def progress(self, kimg: float, seconds: float) -> None:
        """Nothing."""

    def stopping(self) -> bool:
        """Never."""
        return False


def rows_of(folder: Path, **changes: Any) -> list[dict[str, Any]]:
    """What a training on four made-up pictures reports, one row for each evaluation."""
    (folder / "pictures").mkdir()
    pictures = write_pictures(folder / "pictures", 4)
    recorder = Recorder(folder / "run")
    train(config(**{"data.path": str(pictures), **changes}), recorder)
    return recorder.rows
