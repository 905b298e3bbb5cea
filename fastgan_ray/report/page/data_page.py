"""Render data.html, which shows facts about a set of pictures in one self-contained file."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from PIL import Image

from fastgan_ray.counting import counted
from fastgan_ray.data.listing import printable
from fastgan_ray.data.source import Source
from fastgan_ray.report.data.pictures import Facts
from fastgan_ray.report.data.suggestion import Choice
from fastgan_ray.report.page.render import render

SIDE = 112  # longer side of a small picture in pixels; the page shows it at half this size
MOST_PAIRS = 24
OF_A_CLUSTER = 8  # pictures to show of each cluster
MOST_ROWS = 2000


def data_page(
    facts: Facts, source: Source | None, suggested: Sequence[Choice], text: str, now: datetime
) -> str:
    """Return the HTML of data.html. All text is escaped.

    `facts` and `source` are the results of `picture_facts`. `suggested` has the choices in the
    suggested search file, and `text` is the content of this file. Both are empty if `source` is
    None. `now` is shown as the time at which the page was written.
    """
    written = now.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    content = {**view(facts, source, suggested, text), "written": written}
    return render("data.html.j2", "script.js", ["style.css", "data.css"], content)


def view(
    facts: Facts, source: Source | None, suggested: Sequence[Choice], text: str
) -> dict[str, Any]:
    """Return the variables of the template of data.html, as plain data.

    The arguments are as in `data_page`.
    """
    compared = facts.get("compared")
    return {
        "path": facts["path"],
        "verdict": verdict(facts),
        "remarks": facts["remarks"],
        "unreadable": facts["unreadable"],
        "overview": overview(facts),
        "bars": _bars(facts["sizes"]["ranges"]) if compared else [],
        "copies": facts.get("copies", []),
        "near": _near(compared, source),
        "outliers": _figures(compared["outliers"], source) if compared and source else [],
        "clusters": _clusters(compared, source),
        "compared": compared["count"] if compared else 0,
        "metric": metric_sentences(facts),
        "suggested": [
            {"key": choice.key, "value": str(choice.value), "reason": choice.reason}
            for choice in suggested
        ],
        "text": text,
        "files": sorted(facts["files"], key=lambda row: bool(row["is_used"]))[:MOST_ROWS],
        "more_files": max(0, len(facts["files"]) - MOST_ROWS),
    }


def verdict(facts: Facts) -> str:
    """Return sentences: how many pictures can be used, and for which resolution."""
    if "resolution" not in facts:
        return f"{counted(facts['pictures'], 'picture')} can be used, too few for a training."
    resolution = facts["resolution"]
    sizes = f"They are large enough for a resolution of {resolution['value']} px."
    if resolution["share"] < resolution["needed"]:
        sizes = (
            f"Only {resolution['share']:.0%} of them have at least {resolution['value']} px, the "
            "lowest resolution that can be trained."
        )
    return f"{counted(facts['pictures'], 'picture')} can be used. {sizes}"


def overview(facts: Facts) -> list[tuple[str, str]]:
    """Return (name, text) pairs about the pictures: file formats, colours, sizes and aspect ratio.

    Return [] if too few pictures can be used.
    """
    if "sizes" not in facts:
        return []
    sizes, aspect = facts["sizes"], facts["aspect"]
    agree = (
        "most pictures are"
        if aspect["share"] >= 0.8
        else "the pictures have different proportions; the most common proportions are"
    )
    return [
        ("kinds", _counted_names(facts["kinds"])),
        ("colours", _counted_names(facts["modes"])),
        ("colour profiles", _counted_names(facts["profiles"])),
        ("with transparent parts", str(facts["transparent"])),
        ("smallest", sizes["smallest"]),
        ("median of the shorter side", sizes["median"]),
        ("largest", sizes["largest"]),
        ("proportions", f"{agree} about {aspect['value']} ({aspect['share']:.0%})"),
    ]


def metric_sentences(facts: Facts) -> list[str]:
    """Return sentences that say how large a difference in a metric can be by chance."""
    if "compared" not in facts:
        return []
    halves = facts["compared"]["halves"]
    if halves is None:
        return ["There are too few pictures to compare two halves of them."]
    count = halves["half"]
    sentences = [
        f"Two random halves of your pictures ({count} against {count}) have a Frechet distance of "
        f"{halves['fd']:.1f} ± {halves['fd_sd']:.1f} and a kernel distance of "
        f"{1000 * halves['kd']:.2f} ± {1000 * halves['kd_sd']:.2f} thousandths (mean and "
        "standard deviation over random splits, measured with the feature network inside the "
        "package).",
        f"If {counted(count, 'picture')} of a perfect generator were compared with {count} of "
        "your pictures, the distances would be about the same. A generator with lower values "
        "copies your pictures. With more pictures, the Frechet distance of a perfect generator is "
        "lower, and its kernel distance is still about 0.",
        f"Differences below {2 * halves['fd_sd']:.1f} in the Frechet distance or "
        f"{2000 * halves['kd_sd']:.2f} thousandths in the kernel distance can be chance.",
    ]
    can_or_cannot = "can" if halves["has_direction"] else "cannot"
    return [
        *sentences,
        f"The feature network {can_or_cannot} distinguish your pictures from their mirror images.",
    ]


def _counted_names(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {printable(name)}" for name, count in counts.items())


def _bars(ranges: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    most = max(entry["count"] for entry in ranges) or 1
    return [{**entry, "width": f"{100 * entry['count'] / most:.1f}"} for entry in ranges]


def _near(compared: Facts | None, source: Source | None) -> dict[str, Any]:
    """Return {"count", "pairs"}: the number of pairs of near duplicates, and thumbnails of pairs.

    "pairs" has only the nearest pairs (at most MOST_PAIRS).
    """
    if compared is None or source is None:
        return {"count": 0, "pairs": []}
    pairs = [
        {"pictures": _figures(pair["indices"], source), "distance": pair["distance"]}
        for pair in compared["near"][:MOST_PAIRS]
    ]
    return {"count": len(compared["near"]), "pairs": pairs}


def _clusters(compared: Facts | None, source: Source | None) -> list[dict[str, Any]]:
    """Return the size and the most typical pictures of each cluster; [] for a single cluster."""
    if compared is None or source is None or len(compared["clusters"]) < 2:
        return []
    return [
        {"count": len(members), "pictures": _figures(members[:OF_A_CLUSTER], source)}
        for members in compared["clusters"]
    ]


def _figures(indices: Sequence[int], source: Source) -> list[dict[str, Any]]:
    return [
        {**_small(source.read(index)), "name": printable(source.names[index])} for index in indices
    ]


def _small(picture: Image.Image) -> dict[str, Any]:
    """Return {"uri", "width", "height"} of a thumbnail of `picture`."""
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    content = io.BytesIO()
    picture.save(content, "WEBP", quality=80)
    uri = f"data:image/webp;base64,{base64.b64encode(content.getvalue()).decode()}"
    return {"uri": uri, "width": picture.width, "height": picture.height}
