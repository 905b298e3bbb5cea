"""A file from the internet, with word of how far it is."""

from __future__ import annotations

import sys
import time
import urllib.request
from pathlib import Path

from rich.console import Console
from rich.progress import DownloadColumn, Progress, TransferSpeedColumn

from fastgan_ray.progress import SECONDS_BETWEEN_LINES

_BLOCK = 2**18


def fetch(url: str, to: Path, timeout_seconds: float) -> None:
    """Copy a URL to a file: a bar on a terminal, elsewhere a line now and then, on stderr.

    The time allowed is to connect, and between two reads. OSError, ValueError or HTTPException if
    any of it fails, an end before the announced length too.
    """
    console = Console(stderr=True)
    columns = (*Progress.get_default_columns(), DownloadColumn(), TransferSpeedColumn())
    progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    if not console.is_terminal:
        print(f"downloading {url}", file=sys.stderr)
    # An opener of its own, because urlopen's can be replaced for the whole process.
    with urllib.request.build_opener().open(url, timeout=timeout_seconds) as answer:
        length = int(answer.headers.get("Content-Length") or -1)
        of = f" of {length / 1e6:,.0f}" if length >= 0 else ""
        received, printed = 0, time.monotonic()
        with progress, to.open("wb") as file:
            task = progress.add_task(url.rsplit("/", 1)[-1], total=length if length >= 0 else None)
            while block := answer.read(_BLOCK):
                received += file.write(block)
                progress.update(task, completed=received)
                if progress.disable and time.monotonic() - printed >= SECONDS_BETWEEN_LINES:
                    print(f"downloading: {received / 1e6:,.0f}{of} MB", file=sys.stderr)
                    printed = time.monotonic()
    if length >= 0 and received != length:
        raise OSError(f"the connection ended after {received:,} of {length:,} bytes")
