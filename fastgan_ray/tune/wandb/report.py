"""Make a W&B report about a search or an ablation: its charts and texts.

`outline` returns the content of the report as plain data. `build` makes the report from this data
with wandb-workspaces, and `save` stores the report at W&B.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fastgan_ray.errors import UserError
from fastgan_ray.metrics.names import early_name, metric_name
from fastgan_ray.report.text import search_verdict
from fastgan_ray.search.ablation import arm_config
from fastgan_ray.search.file.read import spec_from_text
from fastgan_ray.search.file.read_ablation import ablation_from_text
from fastgan_ray.search.file.spec import base_config
from fastgan_ray.tune.wandb.compat import logged_in
from fastgan_ray.tune.wandb.outcome import CELL, prediction_tables
from fastgan_ray.tune.wandb.rows import PICTURES

Panel = dict[str, Any]
Outline = dict[str, Any]

# The charts of a report: {title: metrics that the chart shows as curves}. The first three charts
# compare generators; the others are about training.
WATCHED = {
    "Precision and recall": ["precision_k5", "recall_k5"],
    "Distance to the nearest training picture (1 = as for real pictures)": ["nearest_ratio"],
    "Fraction of pictures that count as copies": ["memorised"],
    "Speed": ["images_per_second"],
    "Losses": ["loss/d", "loss/g"],
    "Logits": ["logits/real", "logits/fake"],
    "Gradients": ["grad/d", "grad/g"],
    "Augmentation and sparsity": ["augment/p", "regan/sparsity"],
}
# Widths of panels; 24 is the full width. Other panels have half of the full width.
WIDTHS = {"parallel_coordinates": 24, "media": 24, "table": 24}
HEIGHT = 10


def outline(folder: Path, project: str) -> Outline:
    """Return the content of a W&B report about a search or an ablation, as JSON values.

    `project` is the W&B project of the runs. Raises UserError if `folder` is not the folder of a
    search or an ablation.
    """
    facts = _facts(folder)
    kind, metric = facts["kind"], facts["metric"]
    smaller_or_larger = "smaller" if metric.goal == "minimize" else "larger"
    summary = _summary(folder)
    verdict = search_verdict(summary)
    tables = ["leaderboard", *(["confirmation"] if kind == "search" else [])]
    tables += prediction_tables(summary)
    return {
        "title": f"{folder.resolve().name}: {metric.name}, {smaller_or_larger} is better",
        "project": project,
        "group": summary.get("name", folder.resolve().name),  # the folder may have been renamed
        "order": {"summary": "value", "ascending": metric.goal == "minimize"},
        "sections": [
            _section(
                "Leaderboard",
                [_runs(kind)],
                f"{verdict} The best trial is first.".strip(),
                [{"kind": "table", "name": name} for name in tables],
            ),
            *(_confirmation_sections(facts) if kind == "search" else []),
            _settings_section(facts),
            _section(
                "Curves",
                [_runs("trial")],
                "The x-axis shows thousands of training images.",
                _curves(facts),
            ),
            _section(
                "Pictures",
                [_runs("trial")],
                "The pictures named grid are samples; all trials use the same latents. The "
                "pictures named pairs show the samples that are most similar to a training "
                "picture, each next to this training picture. The pictures named decoded show "
                "training pictures next to their reconstructions by the discriminator's decoders. "
                "The slider selects the step.",
                [{"kind": "media", "keys": [key]} for key in PICTURES],
            ),
        ],
    }


def _settings_section(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the section that shows which settings matter.

    The section's charts have two groups of trials: finished trials and stopped trials.
    """
    outcome = [{"summary": name, "log": False} for name in ("kimg", "state", "value")]
    return _section(
        "Which settings matter",
        [
            _runs("trial", "finished", ["finished"]),
            _runs("trial", "stopped", ["stopped"], facts["first_kimg"]),
        ],
        "In the first chart, each line is a trial. Drag along an axis, for example kimg or state, "
        "to show only some trials. The list of runs has two groups: finished and stopped trials. "
        "Click the eye icon of a group to hide its trials in all charts of this section.",
        [
            {"kind": "parallel_coordinates", "columns": [*facts["axes"], *outcome]},
            {"kind": "importance", "of": "value"},
            {"kind": "scatter", "x": "params_g", "y": "value"},
            {"kind": "scatter", "x": "images_per_second", "y": "value"},
        ],
    )


def _confirmation_sections(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the section about the confirmation's trainings, as a list with one element."""
    axes = [{"config": f"cell.{name}", "log": False} for name in ("arm", "seed")]
    value = {"summary": "value", "log": False}
    return [
        _section(
            "Confirmation",
            [_runs("confirmation")],
            "New trainings of the best trials and of the published default, with seeds "
            "that the search did not use. The verdict uses only these trainings.",
            [
                {"kind": "parallel_coordinates", "columns": [*axes, value]},
                *_quality(facts),
            ],
        )
    ]


def _quality(facts: Mapping[str, Any]) -> list[Panel]:
    """Return charts of three metrics: the search's metric, Frechet distance, kernel distance."""
    metric, protocol = facts["metric"].name, facts["protocol"]
    names = dict.fromkeys([metric, metric_name(protocol, "fd"), metric_name(protocol, "kd")])
    early = facts["protocol"].early_fakes is not None
    return [
        {"kind": "curves", "title": name, "y": [name, *([early_name(name)] if early else [])]}
        for name in names
    ]


def _curves(facts: Mapping[str, Any]) -> list[Panel]:
    watched = [{"kind": "curves", "title": title, "y": keys} for title, keys in WATCHED.items()]
    return [*_quality(facts), *watched]


def _summary(folder: Path) -> dict[str, Any]:
    """Return the content of summary.json, or of ablation.json; {} if there is no such file."""
    for path in (folder / "summary.json", folder / "ablation.json"):
        if path.is_file():
            return dict(json.loads(path.read_text()))
    return {}


def save(content: Outline, entity: str | None) -> str:
    """Save the report at W&B; return its URL.

    `content` is the result of `outline`. `entity` is as in `build`. Raises UserError if there is no
    W&B login, if wandb-workspaces is not installed, or if W&B does not accept the report.
    """
    if not logged_in(os.environ):
        raise UserError(
            "wandb-report: needs a login at W&B, where the report is stored. Run `wandb login`, or "
            "set WANDB_API_KEY. With --dry-run, the content of the report is only printed."
        )
    try:
        report = build(content, entity)
        report.save()
    except ImportError as error:
        raise UserError(
            f"wandb-report: needs the package wandb-workspaces ({error}). Install it with: "
            "pip install 'fastgan-ray[wandb-report]'"
        ) from error
    except Exception as error:  # W&B raises the class Exception itself
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"wandb-report: W&B did not accept the report on {content['project']} "
            f"({type(error).__name__}: {reason}). Upload the runs first with `wandb sync`, "
            "and check that this login (`wandb login --relogin`) or --entity owns the runs."
        ) from error
    return str(report.url)


def build(content: Outline, entity: str | None) -> Any:  # noqa: ANN401 - of an optional package
    """Build a wandb_workspaces Report.

    `content` is the result of `outline`. `entity` is the W&B user or team that owns the runs and
    the report; None means the default entity of the login.
    """
    import wandb_workspaces.reports.v2 as wr

    owner: dict[str, Any] = {} if entity is None else {"entity": entity}
    blocks = []
    for section in content["sections"]:
        runsets = [_runset(wr, content, owner, runs) for runs in section["runs"]]
        panels = [_placed(wr, number, panel) for number, panel in enumerate(section["panels"])]
        blocks += [wr.H2(section["heading"]), wr.P(section["text"])]
        blocks += [wr.PanelGrid(runsets=runsets, panels=panels)]
    return wr.Report(
        **owner, project=content["project"], title=content["title"], blocks=blocks, width="fluid"
    )


def _runset(
    wr: Any,  # noqa: ANN401 - of an optional package
    content: Outline,
    owner: Mapping[str, Any],
    runs: Mapping[str, Any],
) -> Any:  # noqa: ANN401
    """Build a W&B Runset of the search's or ablation's runs that match `runs` (see `_runs`)."""
    from wandb_workspaces import expr

    filters = [expr.Metric("Group") == content["group"], expr.Metric("JobType") == runs["job"]]
    if runs["states"]:
        filters.append(expr.Summary("state").isin(runs["states"]))
    if runs["least_kimg"]:
        filters.append(expr.Summary("kimg") >= runs["least_kimg"])
    return wr.Runset(
        **owner,
        project=content["project"],
        name=runs["name"],
        filters=expr.And(*filters),
        order=[wr.OrderBy(wr.SummaryMetric("value"), ascending=content["order"]["ascending"])],
    )


def _runs(
    job: str, name: str = "", states: Sequence[str] = (), least_kimg: float = 0.0
) -> dict[str, Any]:
    """Return a filter for W&B runs, as a dict that `_runset` uses.

    The filter selects the runs with the job type `job`, a state in `states` and at least
    `least_kimg`. If `states` is empty, all states are selected. In the report, the selected runs
    are listed under the heading `name`.
    """
    return {"name": name or job, "job": job, "states": list(states), "least_kimg": least_kimg}


def _section(
    heading: str, runs: list[dict[str, Any]], text: str, panels: list[Panel]
) -> dict[str, Any]:
    """Return a section of the report.

    `runs` has the filters that select the W&B runs in the section's charts (see `_runs`).
    """
    return {"heading": heading, "text": text, "runs": runs, "panels": panels}


def _facts(folder: Path) -> dict[str, Any]:
    """Return the facts about a search or an ablation that the report needs, as a dict.

    "kind" is "search" or "ablation". "metric" is the Metric of the search or ablation. "axes" are
    the axes of the chart with parallel coordinates. "protocol" has the settings of `eval`.
    "first_kimg" is the smallest kimg at which an early stopping rule can stop a trial; 0 if there
    is no rule.
    """
    search, ablation, choices = (
        folder / name for name in ("search.yaml", "ablation.yaml", "overrides.json")
    )
    if search.is_file():
        spec = spec_from_text(search.read_text(), str(search), json.loads(choices.read_text()))
        return {
            "kind": "search",
            "metric": spec.metric,
            "axes": [{"config": parameter.name, "log": parameter.log} for parameter in spec.space],
            "protocol": base_config(spec).eval,
            "first_kimg": min((rule.first_kimg for rule in spec.early_terminate), default=0.0),
        }
    if ablation.is_file():
        chosen = json.loads(choices.read_text())
        arms = ablation_from_text(
            ablation.read_text(), str(ablation), chosen["set"], chosen["seeds"]
        )
        return {
            "kind": "ablation",
            "metric": arms.metric,
            "axes": [{"config": f"cell.{name}", "log": False} for name in CELL],
            "protocol": arm_config(arms, arms.baseline).eval,
            "first_kimg": 0.0,
        }
    raise UserError(
        f"{folder}: is not the folder of a search or an ablation, because it has no search.yaml "
        "or ablation.yaml. Name a folder such as runs/demo."
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
    "table": lambda wr, panel: wr.WeavePanelSummaryTable(table_name=panel["name"]),
    "parallel_coordinates": _parallel_coordinates,
    "importance": lambda wr, panel: wr.ParameterImportancePlot(with_respect_to=panel["of"]),
    "scatter": _scatter,
    "curves": lambda wr, panel: wr.LinePlot(title=panel["title"], x="kimg", y=panel["y"]),
    "media": lambda wr, panel: wr.MediaBrowser(
        title=panel["keys"][0], media_keys=panel["keys"], num_columns=4
    ),
}
