"""What every test shares: a cache of its own, and few threads."""

import os
import signal

import numpy as np
import pytest
import torch
from PIL import Image

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
torch.set_num_threads(1)
if hasattr(signal, "SIGHUP"):  # `nohup make test` ignores it, and processes inherit this
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture
def empty_cache(monkeypatch, tmp_path):
    """An empty cache folder, which does not exist yet, for one test."""
    monkeypatch.setenv("FASTGAN_RAY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """A cache folder for the whole session; tests that need an empty one use `empty_cache`."""
    folder = tmp_path_factory.mktemp("cache")
    previous = os.environ.get("FASTGAN_RAY_CACHE")
    os.environ["FASTGAN_RAY_CACHE"] = str(folder)
    yield folder
    if previous is None:
        del os.environ["FASTGAN_RAY_CACHE"]
    else:
        os.environ["FASTGAN_RAY_CACHE"] = previous


@pytest.fixture
def unequal_pictures(tmp_path):
    """A folder of six pictures of unequal sizes, one of them half transparent."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(1)
    for index, (width, height) in enumerate([(40, 40), (64, 32), (20, 50), (16, 16), (33, 34)]):
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    half = np.full((30, 30, 4), 90, dtype=np.uint8)
    half[:, :, 3] = 128
    Image.fromarray(half).save(folder / "half.png")
    return folder
