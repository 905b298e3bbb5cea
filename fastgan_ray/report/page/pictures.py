"""Pictures of a run's folder as data URIs, small enough for one file that holds them all."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

from PIL import Image

from fastgan_ray.report.data.run_folder import Trial

GRID_SIDE = 760  # pixels: more than a screen shows of a grid among others
QUALITY = 80
FORMAT = "WEBP"


def latest(trial: Trial, key: str) -> Path | None:
    """The newest picture that a trial's rows name under `key` and its folder has.

    Rows may hold the path of a folder that has moved since, so that only its end counts.
    """
    for row in reversed(trial["rows"]):
        if row.get(key):
            path = Path(trial["folder"], *Path(row[key]).parts[-2:])
            return path if path.is_file() else None
    return None


def embedded(path: Path, side: int = GRID_SIDE) -> dict[str, Any] | None:
    """{"uri", "width", "height"} of a picture scaled to at most `side`; None if it is none."""
    try:
        with Image.open(path) as file:
            picture = file.convert("RGB")
    except OSError:  # cut short by a kill
        return None
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    text = io.BytesIO()
    picture.save(text, FORMAT, quality=QUALITY)
    coded = base64.b64encode(text.getvalue()).decode()
    return {
        "uri": f"data:image/{FORMAT.lower()};base64,{coded}",
        "width": picture.width,
        "height": picture.height,
    }
