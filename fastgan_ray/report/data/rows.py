"""The rows of a trial's metrics.jsonl."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """Read a trial's rows in order; return [] if there is no file.

    Skip incomplete lines: a killed process can leave one at the end.
    """
    path = folder / "metrics.jsonl"
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text().splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            rows.append(json.loads(line))
    return rows
