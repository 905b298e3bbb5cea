"""Read the rows of a trial's evaluations (metrics.jsonl) and training numbers (training.jsonl)."""

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
    """Read a trial's rows in order; return [] if there is no file.

    Skip incomplete lines: a killed process can leave one at the end.
    """
    path = folder / file
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text().splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            rows.append(json.loads(line))
    return rows
