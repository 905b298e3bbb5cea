"""Read the rows of a trial: evaluations (metrics.jsonl) and training numbers (training.jsonl)."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

METRICS = "metrics.jsonl"
TRAINING = "training.jsonl"  # only with train.log_every_kimg
# The prefix of training numbers in TensorBoard and W&B; evaluations use the same names without it.
PREFIX = "training/"


def read_rows(folder: Path, file: str = METRICS) -> list[dict[str, Any]]:
    """Return the rows in `file` of a trial's `folder`, in order; [] if the file does not exist.

    A line that is not valid JSON is skipped, because a killed process can leave an incomplete last
    line.
    """
    path = folder / file
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text().splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            rows.append(json.loads(line))
    return rows
