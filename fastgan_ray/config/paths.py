"""The path of the cache folder, and checks that results can be written to a path."""

from __future__ import annotations

import os
from pathlib import Path

from fastgan_ray.errors import UserError


def cache_dir() -> Path:
    """Return the cache folder, for decoded pictures, reference features and network weights.

    This is the folder in the environment variable `FASTGAN_RAY_CACHE`. Without this variable, it is
    `fastgan-ray` in the user's cache folder. The function does not create the folder.
    """
    if folder := os.environ.get("FASTGAN_RAY_CACHE"):
        return Path(folder).expanduser().resolve()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "fastgan-ray"


def require_writable(out: Path, option: str = "--out") -> None:
    """Raise UserError if the file `out` cannot be written; the message names the `option`.

    Create the folder of `out`, but not the file.
    """
    try:
        if out.is_dir():
            raise UserError(f"{option}: {out} cannot be written (it is a folder)")
        probe = out.with_name(f".{out.name}.writable")
        out.parent.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(f"{option}: {out} cannot be written ({error})") from error


def require_writable_folder(out: Path) -> None:
    """Raise UserError if files cannot be written into the folder `out`. Create the folder."""
    require_writable(out / "file")
