"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

Data = Annotated[
    str | None,
    typer.Option(help="Folder, .zip, LMDB, or a name from `fastgan-ray data`; replaces data.path."),
]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Fix a field, as in train.lr_g=1e-4. Repeat."),
]
Embedded = Annotated[
    bool,
    typer.Option(
        "--embedded",
        help="Use the feature network inside the package for the metric and the reconstruction: "
        "no download; a Frechet distance on it is named fd_efficientnet_lite0.",
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Check everything, print the plan, and stop.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Name = Annotated[str | None, typer.Option(help="Name of the run; default: the file's.")]
Runs = Annotated[Path, typer.Option(help="Folder of all runs.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with what was stopped.")]
MaxConcurrent = Annotated[
    int | None, typer.Option(min=1, help="Trials at once; default: as many as fit.")
]
Wandb = Annotated[
    Literal["auto", "online", "offline", "disabled"],
    typer.Option(help="W&B; auto = online if logged in, else offline."),
]
Address = Annotated[
    str | None, typer.Option(help="Ray cluster; default: RAY_ADDRESS or this machine.")
]

EMBEDDED: dict[str, Any] = {
    "eval.extractor": "efficientnet_lite0",
    "train.reconstruction": "efficientnet_lite0",
}


def overrides(data: str | None, assign: list[str] | None, embedded: bool) -> dict[str, Any]:
    """The fields of a configuration, by dotted name, that the options replace."""
    from fastgan_ray.config.yaml_io import parse_assignments

    chosen = dict(EMBEDDED) if embedded else {}
    if data is not None:
        chosen["data.path"] = data
    return chosen | parse_assignments(assign or [])
