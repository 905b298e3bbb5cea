"""The smallest real training: a 32 px network on a handful of made-up pictures."""

from pathlib import Path

import numpy as np
from PIL import Image

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
