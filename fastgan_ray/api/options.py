"""Check the options of a search or an ablation, with the same rules as the command line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from fastgan_ray.errors import UserError
from fastgan_ray.tune.experiment import TuneOptions
from fastgan_ray.tune.wandb.session import require_mode

RUNS = "runs"


def tune_options(runs: str | Path = RUNS, **options: Any) -> TuneOptions:  # noqa: ANN401 - of any type
    """Check options and return them as TuneOptions.

    `runs` is the local folder for all runs, or the URI of a remote storage. `options` are other
    fields of TuneOptions. Raise UserError if a value is not allowed.
    """
    concurrent, disk = options.get("max_concurrent"), options.get("disk_gb")
    if concurrent is not None and concurrent < 1:
        raise UserError(f"max_concurrent: must be at least 1 (got {concurrent})")
    if disk is not None and not disk >= 0:
        raise UserError(f"disk_gb: must be at least 0 (got {disk})")
    if "wandb" in options:
        require_mode(options["wandb"])
    folder, storage_uri = _folder_and_uri(str(runs))
    return TuneOptions(runs_dir=folder, storage_uri=storage_uri, **options)


def _folder_and_uri(runs: str) -> tuple[Path, str | None]:
    """Return the local folder for all runs, and the URI of the remote storage.

    If `runs` is a URI, the local folder is RUNS. If `runs` is a local folder, the URI is None.
    Raise UserError if `runs` looks like a URI without two slashes after the colon.
    """
    if match := re.match(r"([a-z0-9]{2,}):/?(?!/)(.*)", runs):
        corrected_uri = f"{match[1]}://{match[2]}"
        raise UserError(
            f"--runs: a URI needs two slashes after the colon, as in {corrected_uri} (got {runs!r})"
        )
    return (Path(RUNS), runs) if "://" in runs else (Path(runs), None)
