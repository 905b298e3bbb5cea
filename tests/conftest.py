"""What every test shares: a cache of its own, and few threads."""

import os

import pytest
import torch

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """A cache folder for the whole session; tests that need an empty one set their own."""
    folder = tmp_path_factory.mktemp("cache")
    previous = os.environ.get("FASTGAN_RAY_CACHE")
    os.environ["FASTGAN_RAY_CACHE"] = str(folder)
    yield folder
    if previous is None:
        del os.environ["FASTGAN_RAY_CACHE"]
    else:
        os.environ["FASTGAN_RAY_CACHE"] = previous
