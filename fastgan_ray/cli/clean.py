"""The command that frees disk: `clean`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def clean(
    run: Annotated[Path, typer.Argument(help="Folder of a search or an ablation, as runs/demo.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List what would go, with its bytes, and stop.")
    ] = False,
) -> None:
    """Remove what neither a run's results nor going on with it needs."""
    from fastgan_ray.tune.storage.cleaning import clean as cleaned

    found = cleaned(run, dry_run)
    console = Console()
    for path, size in found:
        console.print(f"{size:>15,} {path}", highlight=False, soft_wrap=True, markup=False)
    total = sum(size for _, size in found)
    console.print(f"{total:>15,} bytes {'to free' if dry_run else 'freed'}", highlight=False)
