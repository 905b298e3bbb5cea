"""Command-line options that several commands use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

Run = Annotated[
    Path,
    typer.Argument(metavar="RUN", help="Folder of a search or an ablation, e.g. runs/demo."),
]
Data = Annotated[
    str | None,
    typer.Option(
        help="Pictures: a folder, an archive (.zip, .tar), a .npy file, an LMDB folder, or a name "
        "from `fastgan-ray data`. Replaces the setting data.path."
    ),
]
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a setting, e.g. train.lr_g=1e-4. You can repeat this option.",
    ),
]
Embedded = Annotated[
    bool,
    typer.Option(
        "--embedded",
        help="Use the feature network inside the package for the metric and the reconstruction "
        "loss. This needs no download. The name of the metric then ends in efficientnet_lite0.",
    ),
]
Which = Annotated[
    Literal["best", "last"],
    typer.Option(help="Checkpoint to use: the best one by the run's metric, or the last one."),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Check everything, print the plan and exit.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Name = Annotated[
    str | None,
    typer.Option(
        help="Name of the run's folder.", show_default="the name in the search or ablation file"
    ),
]
Runs = Annotated[
    str,
    typer.Option(
        help="Folder for all runs, or the URI of a remote storage, e.g. s3://bucket/prefix. With a "
        "URI, runs are also copied to the storage. Then the machines need no shared folder, and "
        "every machine can --resume a run."
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Continue a run that was stopped.")]
Detach = Annotated[
    bool,
    typer.Option(
        "--detach",
        help="Run in the background, and continue after this terminal is closed. "
        "`fastgan-ray status` shows the run, and `fastgan-ray stop` stops the run. The output goes "
        "to output.log in the run's folder.",
    ),
]
MaxConcurrent = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Largest number of trials that run at the same time.",
        show_default="as many as fit on the machines",
    ),
]
DiskGb = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="Limit for the total size of all checkpoints, in GB. If necessary, fewer trials run "
        "at the same time.",
        show_default="no limit",
    ),
]
Wandb = Annotated[
    Literal["auto", "online", "offline", "off"],
    typer.Option(help="Log to Weights & Biases. auto = online if logged in, else offline."),
]
Address = Annotated[
    str | None,
    typer.Option(
        help="Address of the Ray cluster to use, e.g. auto or 10.0.0.1:6379.",
        show_default="the environment variable RAY_ADDRESS, else this machine",
    ),
]

RUNS = "runs"


def overrides(data: str | None, assignments: list[str] | None, embedded: bool) -> dict[str, Any]:
    """Return {dotted name: value} for the settings that --data, --set and --embedded change."""
    from fastgan_ray.api.settings import changes

    return changes(data, settings(assignments), embedded)


def settings(assignments: list[str] | None) -> dict[str, Any]:
    """Convert the values of --set, such as "train.lr_g=1e-4", to {dotted name: value}."""
    from fastgan_ray.config.run_file import parse_assignments

    return parse_assignments(assignments or [])
