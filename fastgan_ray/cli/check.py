"""What is there and what it would cost, before anything starts: `check` and `data`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from fastgan_ray.cli.options import AsJson, Assignments, Data, Embedded, overrides
from fastgan_ray.cli.terminal import console, progress_console
from fastgan_ray.progress import track_on

if TYPE_CHECKING:
    from fastgan_ray.config.run_config import RunConfig
    from fastgan_ray.search.cost.timing import Timing


def check(
    file: Annotated[Path, typer.Argument(help="Search, ablation or run configuration (YAML).")],
    data: Data = None,
    assign: Assignments = None,
    embedded: Embedded = False,
    as_json: AsJson = False,
    timed: Annotated[
        bool, typer.Option("--timed", help="Time a few steps of its configurations here: a minute.")
    ] = False,
) -> None:
    """Validate a file without starting anything; show sampled configurations and the cost."""
    from fastgan_ray.cli.plan import print_facts
    from fastgan_ray.config.override import override
    from fastgan_ray.config.run_file import holds_run_config, load_run_config
    from fastgan_ray.search.ablation import arm_config
    from fastgan_ray.search.cost import plan
    from fastgan_ray.search.file.read import load_search
    from fastgan_ray.search.file.read_ablation import holds_ablation, load_ablation
    from fastgan_ray.search.file.spec import sample_configs

    chosen, track = overrides(data, assign, embedded), track_on(progress_console)
    if holds_run_config(file):
        run = override(load_run_config(file), chosen)
        facts = plan.run_facts(run, str(file), track, _timing([run]) if timed else None)
    elif holds_ablation(file):
        ablation = load_ablation(file, chosen)
        arms = [arm_config(ablation, arm) for arm in ablation.arms]
        facts = plan.ablation_facts(ablation, track, _timing(arms) if timed else None)
    else:
        search = load_search(file, chosen)
        facts = plan.search_facts(search, track, _timing(sample_configs(search)) if timed else None)
    if as_json:
        typer.echo(json.dumps(facts, indent=1))
    else:
        print_facts(facts, console)


def data_sets(as_json: AsJson = False) -> None:
    """List the data sets that can be named instead of a folder."""
    from fastgan_ray.data.catalog import catalog

    rows = catalog()
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    table = Table()
    for heading in ("name", "images", "what", "licence", "here"):
        table.add_column(heading)
    for row in rows:
        here = "yes" if row["available"] else "downloads on first use"
        table.add_row(row["name"], str(row["images"]), row["description"], row["licence"], here)
    console.print(table)


def _timing(configs: Sequence[RunConfig]) -> Timing:
    from fastgan_ray.metrics.weight_files import require_weights
    from fastgan_ray.tune.trial.timing import time_configs

    require_weights(configs[0])
    return time_configs(configs)
