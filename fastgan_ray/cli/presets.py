"""The command `presets` and the table that it prints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fastgan_ray.cli import options as opt
from fastgan_ray.cli.terminal import print_json, print_line, print_table
from fastgan_ray.config.paths import require_writable
from fastgan_ray.errors import UserError

if TYPE_CHECKING:
    from fastgan_ray.search.file.presets import Preset


def presets(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", help="Preset to print or copy.", show_default="list all presets"
        ),
    ] = None,
    write: Annotated[
        Path | None, typer.Option(help="Copy the preset to this new file, e.g. mine.yaml.")
    ] = None,
    as_json: opt.AsJson = False,
) -> None:
    """List the presets, or print or copy a preset.

    Presets are the search and ablation files inside the package. `tune`, `ablate` and `check`
    accept the name of a preset instead of a file.
    """
    from fastgan_ray.search.file import presets as files

    if name is None:
        if write is not None:
            raise UserError(
                "--write: needs the name of a preset; `fastgan-ray presets` lists the names"
            )
        _print_list(files.presets(), as_json)
        return
    text = files.preset_copy(name)
    if write is None:
        if as_json:
            (entry,) = (entry for entry in files.presets() if entry["name"] == name)
            print_json({**entry, "text": text})
        else:
            typer.echo(text, nl=False)
        return
    if write.exists():
        raise UserError(f"--write: {write} already exists; choose another name")
    require_writable(write, "--write")
    write.write_text(text, encoding="utf-8")
    print_line(f"wrote a copy of the preset {name} to {write}")


def _print_list(entries: Sequence[Preset], as_json: bool) -> None:
    if as_json:
        print_json(entries)
        return
    rows = [[entry["name"], entry["kind"], entry["description"]] for entry in entries]
    print_table(["name", "kind", "description"], rows)
    print_line("`fastgan-ray presets NAME` prints a preset with its cost and its expected result.")
