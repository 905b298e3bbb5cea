"""The commands for the weights of feature networks: `weights list`, `fetch` and `add`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from fastgan_ray.cli.options import AsJson
from fastgan_ray.cli.terminal import console, progress_console
from fastgan_ray.progress import track_on

weights_app = typer.Typer(
    no_args_is_help=True,
    help="The weights of feature networks: what there is, and filling the cache once for machines "
    "without internet.",
)
EMBEDDED = "efficientnet_lite0"


@weights_app.command("list")
def weights_list(as_json: AsJson = False) -> None:
    """List every published file, what it is for, and whether it is here."""
    from fastgan_ray.metrics.weight_files import weights_table

    rows = weights_table(track_on(progress_console))
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    table = Table()
    for heading in ("name", "MB", "for", "state"):
        table.add_column(heading, justify="right" if heading == "MB" else "left")
    for row in rows:
        size = f"{row['size_bytes'] / 1e6:,.0f}"
        table.add_row(row["name"], size, row["purpose"], row["state"])
    table.add_row(
        "efficientnet_lite0", "", "--embedded (eval.extractor: efficientnet_lite0)", "here"
    )
    console.print(table)
    for row in rows:  # not in the table: a broken address cannot be copied
        where = f"{row['name']}: {row['path'] or row['url']}"
        console.print(where, highlight=False, soft_wrap=True)
    console.print(f"{EMBEDDED}: in a package that was installed with this one")


@weights_app.command("fetch")
def weights_fetch(
    names: Annotated[
        list[str] | None, typer.Argument(help="As `weights list` has them; default: all.")
    ] = None,
) -> None:
    """Download published files into the cache, each checked by its sha256."""
    from fastgan_ray.metrics.weight_files import fetch_weights

    for path in fetch_weights(names or []):
        console.print(str(path), highlight=False, soft_wrap=True)


@weights_app.command("add")
def weights_add(
    files: Annotated[list[Path], typer.Argument(help="Published files, whatever their names.")],
) -> None:
    """Copy files that were fetched elsewhere into the cache, known by their sha256."""
    from fastgan_ray.metrics.weight_files import add_weights

    for path in add_weights(files):
        console.print(str(path), highlight=False, soft_wrap=True)
