"""The command `schema`, which prints the JSON schemas."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from fastgan_ray.cli.terminal import print_json


def schema(
    kind: Annotated[
        Literal["search", "ablation", "run"],
        typer.Argument(metavar="KIND", help="Kind of file: search, ablation or run."),
    ] = "search",
) -> None:
    """Print the JSON schema of a kind of YAML file.

    Editors with a YAML language server use the schema to complete and check files. Write the schema
    to a file, e.g. schema.json, and write this first line into your YAML files:
    # yaml-language-server: $schema=schema.json
    """
    from fastgan_ray.search.file.schema import json_schema

    print_json(json_schema(kind))
