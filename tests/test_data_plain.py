"""The plain share of pictures: black, white and transparent pixels."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from fastgan_ray.config.data import DataConfig
from fastgan_ray.data.plain import plain_share, plain_share_of


def test_black_white_and_transparent_pixels_are_plain():
    images = np.full((2, 4, 4, 3), 128, dtype=np.uint8)
    assert plain_share(images) == 0.0
    images[0, :2] = 253
    images[1, 0] = (2, 0, 4)
    images[1, 1] = (255, 0, 0)  # red is not plain
    assert plain_share(images) == pytest.approx((8 + 4) / 32)
    assert plain_share(images[..., :1]) == pytest.approx((8 + 8) / 32)
    alpha = np.full((2, 4, 4, 1), 255, dtype=np.uint8)
    alpha[1, 3] = 0
    assert plain_share(np.concatenate([images, alpha], axis=-1)) == pytest.approx(16 / 32)


@pytest.mark.parametrize("mode", ["rgb", "grey", "rgba"])
def test_the_share_of_a_folder(tmp_path, mode):
    for index in range(3):
        picture = Image.new("RGB", (64, 48), (255, 255, 255))
        picture.paste((90, 90 + index, 90), (0, 0, 32, 48))
        picture.save(tmp_path / f"{index}.png")
    share = plain_share_of(DataConfig(path=str(tmp_path), mode=mode))
    assert share == pytest.approx(0.5, abs=0.04)


def test_pictures_that_cannot_be_read_have_no_share(tmp_path):
    assert plain_share_of(DataConfig(path=str(tmp_path / "missing"))) is None


def test_the_embedded_sets():
    shares = [plain_share_of(DataConfig(path=name)) for name in ("fluent-heads", "matcaps")]
    assert shares == [pytest.approx(0.41, abs=0.02), pytest.approx(0.02, abs=0.02)]
