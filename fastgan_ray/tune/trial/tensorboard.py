"""Name the training numbers (such as losses) for TensorBoard, and write them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tensorboardX import SummaryWriter  # type: ignore[import-untyped]

from fastgan_ray.report.data.rows import PREFIX


def add_numbers(board: SummaryWriter, numbers: Mapping[str, Any]) -> None:
    """Add a row of training numbers to TensorBoard.

    The step is the number of images on which the networks were trained.
    """
    step = round(1000 * numbers["kimg"])
    for name, value in numbers.items():
        board.add_scalar(f"{PREFIX}{name}", value, step)
