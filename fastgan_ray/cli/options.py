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
Runs = Annotated[
    str,
    typer.Option(
        help="Folder of all runs, or a URI as s3://bucket/prefix: a copy is kept there then, so "
        "that machines need no common folder, and any can --resume."
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with what was stopped.")]
MaxConcurrent = Annotated[
    int | None, typer.Option(min=1, help="Trials at once; default: as many as fit.")
]
DiskGb = Annotated[
    float | None,
    typer.Option(
        min=0, help="GB that all checkpoints together may take; fewer trials run at once then."
    ),
]
Wandb = Annotated[
    Literal["auto", "online", "offline", "disabled"],
    typer.Option(help="W&B; auto = online if logged in, else offline."),
]
Address = Annotated[
    str | None, typer.Option(help="Ray cluster; default: RAY_ADDRESS or this machine.")
]

RUNS = "runs"
EMBEDDED: dict[str, Any] = {
    "eval.extractor": "efficientnet_lite0",
    "train.reconstruction": "efficientnet_lite0",
}


def place_of(runs: str) -> tuple[Path, str | None]:
    """The folder of all runs, and the URI of which it is a copy, if one was given."""
    return (Path(RUNS), runs) if "://" in runs else (Path(runs), None)


def overrides(data: str | None, assign: list[str] | None, embedded: bool) -> dict[str, Any]:
    """The fields of a configuration, by dotted name, that the options replace."""
    from fastgan_ray.config.run_file import parse_assignments

    chosen = dict(EMBEDDED) if embedded else {}
    if data is not None:
        chosen["data.path"] = data
    return chosen | parse_assignments(assign or [])
