"""Pictures of a run's folder as data URIs, small enough for one file with all of them."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

from PIL import Image

from fastgan_ray.report.data.run_folder import Trial

GRID_SIDE = 760  # pixels: a screen with several grids shows no more
QUALITY = 80
FORMAT = "WEBP"


def latest_picture(trial: Trial, key: str) -> Path | None:
    """Return the newest picture that the trial's rows name under `key`, if the file exists.

    Rows may have the path of a folder that has been moved, so only its end is used.
    """
    for row in reversed(trial["rows"]):
        if row.get(key):
            path = Path(trial["folder"], *Path(row[key]).parts[-2:])
            return path if path.is_file() else None
    return None


def embedded(path: Path | None, side: int = GRID_SIDE) -> dict[str, Any] | None:
    """Return {"uri", "width", "height"} of a picture scaled to at most `side` pixels.

    None without a path, and for a damaged file, as after a kill.
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
