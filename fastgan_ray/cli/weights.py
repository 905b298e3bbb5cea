"""The commands for the weights of feature networks: `weights list`, `fetch` and `add`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fastgan_ray.cli.options import AsJson
from fastgan_ray.cli.terminal import print_json, print_line, print_table, progress

weights_app = typer.Typer(
    no_args_is_help=True,
    help="Manage the weights of feature networks, e.g. for machines without internet.",
)
EMBEDDED = "efficientnet_lite0"


@weights_app.command("list")
def weights_list(as_json: AsJson = False) -> None:
    """List the weight files, the purpose of each file, and whether the file is in the cache."""
    from fastgan_ray.metrics.weight_files import weights_table

    files = weights_table(progress())
    if as_json:
        print_json(files)
        return
    rows = [
        [file["name"], f"{file['size_bytes'] / 1e6:,.0f}", file["purpose"], file["state"]]
        for file in files
    ]
    rows.append([EMBEDDED, "", f"--embedded (eval.extractor: {EMBEDDED})", "here"])
    print_table(["name", "MB", "for", "state"], rows, right=[1])
    for file in files:  # outside the table, which would break long addresses
        print_line(f"{file['name']}: {file['path'] or file['url']}")
    print_line(f"{EMBEDDED}: inside an installed Python package")


@weights_app.command("fetch")
def weights_fetch(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            help="Names from `fastgan-ray weights list`.",
            show_default="all weight files",
        ),
    ] = None,
) -> None:
    """Download weight files to the cache, and check their SHA-256 hashes."""
    from fastgan_ray.metrics.weight_files import fetch_weights

    for path in fetch_weights(names or []):
        print_line(str(path))


@weights_app.command("add")
def weights_add(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE", help="Downloaded weight files. They may have any name."),
    ],
) -> None:
    """Add downloaded weight files to the cache; their SHA-256 hashes identify them."""
    from fastgan_ray.metrics.weight_files import add_weights

    for path in add_weights(files):
        print_line(str(path))
