"""A feature network without weights, its settings, and pictures to measure."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from fastgan_ray.config.run_config import EvalConfig, RunConfig
from fastgan_ray.metrics.extractors import Extractor

CPU = torch.device("cpu")


class Network:
    """Pooled colours in place of a network; counts the pictures it has seen."""

    def __init__(self):
        self.seen = 0

    def __call__(self, images):
        self.seen += len(images)
        return F.adaptive_avg_pool2d(images, 2).flatten(1)


def stand_in(weights="0" * 64, size=16):
    return Extractor("efficientnet_lite0", weights, size, Network(), CPU)


def evaluation(**values):
    return EvalConfig.model_validate(
        {"extractor": "efficientnet_lite0", "num_fakes": 50, "batch_size": 16, **values}
    )


def unequal_pictures(folder):
    """Six pictures of unequal sizes, one half transparent."""
    (folder / "pictures").mkdir()
    rng = np.random.default_rng(1)
    for index, (width, height) in enumerate([(40, 40), (64, 32), (20, 50), (16, 16), (33, 34)]):
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "pictures" / f"{index}.png")
    half = np.full((30, 30, 4), 90, dtype=np.uint8)
    half[:, :, 3] = 128
    Image.fromarray(half).save(folder / "pictures" / "half.png")
    return folder / "pictures"


def configured(folder, **data):
    return RunConfig.model_validate(
        {"data": {"path": str(folder), **data}, "eval": evaluation().model_dump()}
    )
