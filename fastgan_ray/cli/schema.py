"""`schema`: what an editor needs to complete and check our files."""

from __future__ import annotations

import json
from typing import Annotated, Literal

import typer


def schema(
    kind: Annotated[
        Literal["search", "ablation", "run"], typer.Argument(help="The kind of file.")
    ] = "search",
) -> None:
    """Print the JSON schema of a search file, an ablation file or a run's configuration.

    Editors with a YAML language server use it if the file's first line names it:
    # yaml-language-server: $schema=schema.json
    """
    from fastgan_ray.search.file.schema import json_schema

    typer.echo(json.dumps(json_schema(kind), indent=1))
