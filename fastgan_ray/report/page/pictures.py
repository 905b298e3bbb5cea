"""Convert pictures to data URIs for report.html, at a reduced size and quality."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

from PIL import Image

GRID_SIDE = 760  # pixels; on a page with several grids, more pixels would not be visible
QUALITY = 80
FORMAT = "WEBP"


def embedded(path: Path | None, side: int = GRID_SIDE) -> dict[str, Any] | None:
    """Return {"uri", "width", "height"} of the picture at `path`, scaled down to at most `side` px.

    Return None if `path` is None, or if the file is missing or damaged. A file can be damaged
    because the process that wrote it was killed.
    """
    if path is None:
        return None
    try:
        with Image.open(path) as file:
            picture = file.convert("RGB")
    except OSError:
        return None
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    return {"uri": data_uri(picture), "width": picture.width, "height": picture.height}


def data_uri(picture: Image.Image, quality: int = QUALITY, lossless: bool = False) -> str:
    """Return a picture as a data URI in WebP format; `quality` is from 0 to 100."""
    content = io.BytesIO()
    picture.save(content, FORMAT, quality=quality, lossless=lossless)
    encoded = base64.b64encode(content.getvalue()).decode()
    return f"data:image/{FORMAT.lower()};base64,{encoded}"
