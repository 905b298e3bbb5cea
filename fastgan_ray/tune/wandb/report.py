"""Make a W&B report on the runs of a search or an ablation, to help choose an architecture.

`outline` returns the content of the report as plain data. `build` makes the report from it with
wandb-workspaces, and `save` stores the report at W&B.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastgan_ray.errors import UserError
from fastgan_ray.metrics.names import early_name
from fastgan_ray.search.file.metric import Metric
from fastgan_ray.search.file.read import spec_from_text
from fastgan_ray.search.file.read_ablation import ablation_from_text
from fastgan_ray.search.file.spec import base_config
from fastgan_ray.tune.wandb.compat import logged_in
from fastgan_ray.tune.wandb.outcome import CELL
from fastgan_ray.tune.wandb.rows import PICTURES

Panel = dict[str, Any]
Outline = dict[str, Any]

WATCHED = {
    "Losses": ["loss/d", "loss/g"],
    "Logits": ["logits/real", "logits/fake"],
    "Gradients": ["grad/d", "grad/g"],
    "Augmentation and sparsity": ["augment/p", "regan/sparsity"],
}
# Widths of panels; 24 is the full width. Other panels have half of the full width.
WIDTHS = {"parallel_coordinates": 24, "media": 24, "leaderboard": 24}
HEIGHT = 10


def outline(folder: Path, project: str) -> Outline:
    """Return the content of the report as data that JSON can store.

    Raises UserError if `folder` holds no search and no ablation.
    """
    kind, metric, axes, early = _facts(folder)
    better = "smaller" if metric.goal == "minimize" else "larger"
    value = {"summary": "value", "log": False}
    curves = [metric.name, *([early_name(metric.name)] if early else [])]
    sizes = {"kind": "scatter", "x": "params_g", "y": "value"}
    lines: list[Panel] = [{"kind": "curves", "title": "Quality", "y": curves}]
    lines += [{"kind": "curves", "title": title, "y": keys} for title, keys in WATCHED.items()]
    return {
        "title": f"{folder.resolve().name}: {metric.name}, {better} is better",
        "project": project,
        "group": folder.resolve().name,
        "order": {"summary": "value", "ascending": metric.goal == "minimize"},
        "sections": [
            _section("Leaderboard", kind, "The best first.", [{"kind": "leaderboard"}]),
            _section(
                "Which settings matter",
                "trial",
                "A line is a trial; drag along an axis to keep some of them.",
                [
                    {"kind": "parallel_coordinates", "columns": [*axes, value]},
                    {"kind": "importance", "of": "value"},
                    sizes,
                ],
            ),
            _section("Curves", "trial", "Over thousands of training images shown.", lines),
            _section(
                "Pictures",
                "trial",
                "Samples of the same latents; those most similar to a training picture, beside it; "
                "training pictures beside what D decodes of them. The slider is the step.",
                [{"kind": "media", "keys": [key]} for key in PICTURES],
            ),
        ],
    }


def save(content: Outline, entity: str | None) -> str:
    """Save the report at W&B; return its URL.

    Raises UserError if there is no login, if wandb-workspaces is not installed, or if W&B does not
    accept the report.
    """
    if not logged_in(os.environ):
        raise UserError(
            "wandb-report: needs a login at W&B, where the report is kept. Run `wandb login`, or "
            "set WANDB_API_KEY; --dry-run shows what the report would contain."
        )
    try:
        report = build(content, entity)
        report.save()
    except ImportError as error:
        raise UserError(
            "wandb-report: needs wandb-workspaces (pip install 'fastgan-ray[wandb-report]'; "
            f"{error})"
        ) from error
    except Exception as error:  # W&B raises the class Exception itself
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"wandb-report: W&B did not accept the report on {content['project']} "
            f"({type(error).__name__}: {reason}). Send its runs first (`wandb sync`), and "
            "check that this login (`wandb login --relogin`) or --entity owns them."
        ) from error
    return str(report.url)


def build(content: Outline, entity: str | None) -> Any:  # noqa: ANN401 - of an optional package
    """Build a wandb_workspaces Report from an outline.

    `entity` owns the runs and the report; None means the default entity of the login.
    """
    import wandb_workspaces.reports.v2 as wr
    from wandb_workspaces import expr

    owner: dict[str, Any] = {} if entity is None else {"entity": entity}
    blocks = []
    for section in content["sections"]:
        runs = wr.Runset(
            **owner,
            project=content["project"],
            name=section["runs"],
            filters=expr.And(
                expr.Metric("Group") == content["group"],
                expr.Metric("JobType") == section["runs"],
            ),
            order=[wr.OrderBy(wr.SummaryMetric("value"), ascending=content["order"]["ascending"])],
        )
        panels = [_placed(wr, number, panel) for number, panel in enumerate(section["panels"])]
        blocks += [wr.H2(section["heading"]), wr.P(section["text"])]
        blocks += [wr.PanelGrid(runsets=[runs], panels=panels)]
    return wr.Report(
        **owner, project=content["project"], title=content["title"], blocks=blocks, width="fluid"
    )


def _section(heading: str, runs: str, text: str, panels: list[Panel]) -> dict[str, Any]:
    """Make a section of the report; `runs` is the job type of the runs in this section."""
    return {"heading": heading, "text": text, "runs": runs, "panels": panels}


def _facts(folder: Path) -> tuple[str, Metric, list[Panel], bool]:
    """Read the facts about a search or an ablation that the report needs.

    Returns its kind, its metric, the axes of the parallel coordinates, and whether it has cheap
    evaluations (`eval.early_fakes`).
    """
    search, ablation, choices = (
        folder / name for name in ("search.yaml", "ablation.yaml", "overrides.json")
    )
    if search.is_file():
        spec = spec_from_text(search.read_text(), str(search), json.loads(choices.read_text()))
        axes = [{"config": one.name, "log": one.log} for one in spec.space]
        return "search", spec.metric, axes, base_config(spec).eval.early_fakes is not None
    if ablation.is_file():
        chosen = json.loads(choices.read_text())
        arms = ablation_from_text(
            ablation.read_text(), str(ablation), chosen["set"], chosen["seeds"]
        )
        axes = [{"config": f"cell.{name}", "log": False} for name in CELL]
        return "ablation", arms.metric, axes, "eval.early_fakes" in arms.base
    raise UserError(
        f"{folder}: must be the folder of a search or an ablation, with its search.yaml or "
        "ablation.yaml, as runs/demo"
    )


def _placed(wr: Any, number: int, panel: Panel) -> Any:  # noqa: ANN401 - of an optional package
    built = PANELS[panel["kind"]](wr, panel)
    width = WIDTHS.get(panel["kind"], 12)
    built.layout = wr.Layout(x=0, y=number * HEIGHT, w=width, h=HEIGHT)
    return built


def _parallel_coordinates(wr: Any, panel: Panel) -> Any:  # noqa: ANN401
    columns = [
        wr.ParallelCoordinatesPlotColumn(
            metric=wr.Config(one["config"])
            if "config" in one
            else wr.SummaryMetric(one["summary"]),
            log=one["log"],
        )
        for one in panel["columns"]
    ]
    return wr.ParallelCoordinatesPlot(columns=columns)


def _scatter(wr: Any, panel: Panel) -> Any:  # noqa: ANN401
    return wr.ScatterPlot(x=wr.SummaryMetric(panel["x"]), y=wr.SummaryMetric(panel["y"]))


PANELS: dict[str, Callable[[Any, Panel], Any]] = {
    "leaderboard": lambda wr, panel: wr.WeavePanelSummaryTable(table_name="leaderboard"),
    "parallel_coordinates": _parallel_coordinates,
    "importance": lambda wr, panel: wr.ParameterImportancePlot(with_respect_to=panel["of"]),
    "scatter": _scatter,
    "curves": lambda wr, panel: wr.LinePlot(title=panel["title"], x="kimg", y=panel["y"]),
    "media": lambda wr, panel: wr.MediaBrowser(
        title=panel["keys"][0], media_keys=panel["keys"], num_columns=4
    ),
}
