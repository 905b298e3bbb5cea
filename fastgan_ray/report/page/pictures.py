"""Pictures from a run's folder as data URIs, reduced so that report.html stays small."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

from PIL import Image

from fastgan_ray.report.data.run_folder import Trial

GRID_SIDE = 760  # pixels; on a screen with several grids, more are not visible
QUALITY = 80
FORMAT = "WEBP"


def latest_picture(trial: Trial, key: str) -> Path | None:
    """Return the path of the trial's newest picture; None if there is none or the file is missing.

    Rows have the picture's path under `key`. Only the last two parts of this path are used, because
    the folder may have been moved.
    """
    for row in reversed(trial["rows"]):
        if row.get(key):
            path = Path(trial["folder"], *Path(row[key]).parts[-2:])
            return path if path.is_file() else None
    return None


def embedded(path: Path | None, side: int = GRID_SIDE) -> dict[str, Any] | None:
    """Return {"uri", "width", "height"} of a picture, scaled down to at most `side` pixels.

    Return None if `path` is None or the file is damaged, e.g. because the process that wrote it was
    killed.
    """
    if path is None:
        return None
    try:
        with Image.open(path) as file:
            picture = file.convert("RGB")
    except OSError:
        return None
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    content = io.BytesIO()
    picture.save(content, FORMAT, quality=QUALITY)
    encoded = base64.b64encode(content.getvalue()).decode()
    return {
        "uri": f"data:image/{FORMAT.lower()};base64,{encoded}",
        "width": picture.width,
        "height": picture.height,
    }
