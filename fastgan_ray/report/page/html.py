"""Collect the charts, tables and texts of report.html, and write the page as a single file."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from fastgan_ray.report.charts.learning_curves import expected_curves_chart, trial_curves_chart
from fastgan_ray.report.charts.parallel_coordinates import parallel_coordinates_chart
from fastgan_ray.report.charts.size_tradeoff import SIZES, size_tradeoff_chart
from fastgan_ray.report.charts.slices import slices
from fastgan_ray.report.data.learning_curves import curve_metric
from fastgan_ray.report.data.ranking import by_data
from fastgan_ray.report.data.run_folder import Run
from fastgan_ray.report.page import sections
from fastgan_ray.report.page.render import render
from fastgan_ray.report.tables.leaderboard import leaderboard
from fastgan_ray.report.tables.pareto import front_table


def page(run: Run, importance: Mapping[str, Any] | None, now: datetime) -> str:
    """Return the HTML of a run's report. All text from the run is escaped.

    `run` is the result of `read_run`. `importance` is {"evaluator", "trials", "values": {parameter:
    share}, "note"}, or None for a run without an Optuna study. `now` is shown as the time at which
    the report was written.
    """
    written = now.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    content = {**view(run, importance), "written": written}
    return render("report.html.j2", "script.js", ["style.css"], content)


def view(run: Run, importance: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the variables of the template of report.html, as plain data.

    The arguments are as in `page`.
    """
    metric = curve_metric(run["trials"], run["metric"]["name"])
    searched = run["kind"] == "search"
    tradeoffs = [
        chart | {"data": data}
        for data, part in by_data(run).items()
        for size in SIZES
        if (chart := size_tradeoff_chart(part, size))
    ]
    return {
        "run": run,
        "headline": sections.headline(run),
        "ablation": sections.ablation(run),
        "confirmation": sections.confirmation(run),
        "votes": sections.votes(run),
        "leaderboard": leaderboard(run),
        "curves": {"metric": metric, "chart": trial_curves_chart(run, metric)},
        "expected": {**sections.expected(run), "chart": expected_curves_chart(run)},
        "parallel": parallel_coordinates_chart(run) if searched else None,
        "importance": sections.importance(run, importance),
        "slices": slices(run) if searched else [],
        "front": front_table(run["account"] or {}) if searched else None,
        "tradeoffs": tradeoffs,
        "galleries": sections.galleries(run),
        "nearest": sections.nearest(run),
        "cost": sections.cost(run),
        "protocols": sections.protocols(run),
    }
