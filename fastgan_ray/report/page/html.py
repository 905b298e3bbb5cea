"""report.html: a run's whole account as one file that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from fastgan_ray.report.charts import charts
from fastgan_ray.report.charts.curves import curve_name
from fastgan_ray.report.charts.parallel_coordinates import parallel
from fastgan_ray.report.charts.slices import slices
from fastgan_ray.report.data.run_folder import Run
from fastgan_ray.report.page import sections
from fastgan_ray.report.tables.pareto import front_table

TEMPLATES = files("fastgan_ray.report.page") / "templates"


def page(run: Run, importance: Mapping[str, Any] | None, now: datetime) -> str:
    """The report on a run as HTML; text of the user's is escaped wherever it stands.

    `importance` is {"evaluator", "trials", "values": {parameter: share}, "note"}, None of a run
    without a study.
    """
    environment = Environment(
        loader=PackageLoader("fastgan_ray.report.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = (TEMPLATES / "script.js").read_text()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("report.html.j2").render(
        **view(run, importance),
        written=now.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        style=Markup((TEMPLATES / "style.css").read_text()),  # noqa: S704 - ours
        script=Markup(script),  # noqa: S704 - ours
        # No script but ours runs, and nothing is fetched, whatever a name in the run may hold.
        policy=f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'",
    )


def view(run: Run, importance: Mapping[str, Any] | None) -> dict[str, Any]:
    """Everything that the page shows, as plain data."""
    curve = curve_name(run["trials"], run["metric"]["name"])
    trades = [charts.trade(run, size) for size in charts.SIZES]
    return {
        "run": run,
        "headline": sections.headline(run),
        "ablation": sections.ablation(run),
        "confirmation": sections.confirmation(run),
        "leaderboard": sections.leaderboard(run),
        "curve": {"name": curve, "chart": charts.learning(run, curve)},
        "parallel": parallel(run) if run["kind"] == "search" else None,
        "importance": importance,
        "slices": slices(run) if run["kind"] == "search" else [],
        "front": front_table(run["account"] or {}) if run["kind"] == "search" else None,
        "bars": charts.importance_bars(importance["values"]) if importance else [],
        "trades": [chart for chart in trades if chart],
        "galleries": sections.galleries(run),
        "nearest": sections.nearest(run),
        "spent": sections.spent(run),
        "protocols": sections.protocols(run),
    }
