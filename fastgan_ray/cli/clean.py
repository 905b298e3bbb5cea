"""The command `clean` and its options."""

from __future__ import annotations

from typing import Annotated

import typer

from fastgan_ray.cli import options as opt
from fastgan_ray.cli.terminal import print_line


def clean(
    run: opt.Run,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the files to remove and their sizes, and exit.")
    ] = False,
) -> None:
    """Remove files that a run's results and --resume do not need, to free disk space."""
    from fastgan_ray.tune.storage.cleaning import clean as clean_run

    removed = clean_run(run, dry_run)
    for path, size in removed:
        print_line(f"{size:>15,} {path}")
    total = sum(size for _, size in removed)
    print_line(f"{total:>15,} bytes {'to free' if dry_run else 'freed'}")
