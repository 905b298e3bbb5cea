"""Compute the chart of each arm's difference from the baseline, with confidence intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastgan_ray.report.charts.axis import fit
from fastgan_ray.report.charts.layout import WIDTH, Chart

LEFT, RIGHT = 24.0, 616.0
ROW = 52.0


def intervals_chart(account: Mapping[str, Any], colours: Mapping[str, str]) -> Chart | None:
    """Return a chart with a row for each arm and a line at 0.

    `account` is the content of ablation.json; `colours` maps each arm to its colour. Return None if
    no arm has been compared yet.
    """
    keys = ("low", "mean", "high")
    comparisons = {
        arm["name"]: arm["comparison"]
        for arm in account["arms"]
        if arm["comparison"] and arm["comparison"]["mean"] is not None
    }
    if not comparisons:
        return None
    numbers = [comparison[key] for comparison in comparisons.values() for key in keys]
    x = fit([0.0, *(value for value in numbers if value is not None)], LEFT, RIGHT, log=False)
    rows = []
    for index, (name, comparison) in enumerate(comparisons.items()):
        # With one pair there is a difference but no interval.
        ends = {key: comparison["mean" if comparison[key] is None else key] for key in keys}
        rows.append(
            {
                "id": name,
                "colour": colours[name],
                "verdict": comparison["verdict"],
                "y": ROW * index + 40,
                **{key: x.at(end) for key, end in ends.items()},
            }
        )
    bottom = ROW * len(rows) + 12
    return {
        "width": WIDTH,
        "height": bottom + 62,
        "left": LEFT,
        "right": RIGHT,
        "bottom": bottom,
        "zero": x.at(0.0),
        "x": {"label": _label(account), "ticks": x.ticks()},
        "rows": rows,
    }


def _label(account: Mapping[str, Any]) -> str:
    if account.get("differences") == "percent":
        over_sets = " over the data sets" if len(account["data"]) > 1 else ""
        return f"change from {account['baseline']}{over_sets}, in %"
    return f"difference from {account['baseline']}"
