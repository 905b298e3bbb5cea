"""Download a file and show the progress on stderr.

This module does not use pooch. With pooch, a killed download leaves a temporary file in the cache
forever, and the progress bar fills log files. This module does not use torch.hub's loader either,
because it has no timeout.
"""

from __future__ import annotations

import http.client
import math
import shutil
import urllib.error
import urllib.request
from pathlib import Path

from rich.console import Console

from fastgan_ray.errors import full_disk
from fastgan_ray.progress import track_on

_BLOCK = 2**20


class DownloadError(Exception):
    """The error of a failed download. Its message has only the reason."""


def download(url: str, to: Path, timeout_seconds: float) -> None:
    """Download `url` to the file `to`; show the progress as a bar on a terminal, else as lines.

    `timeout_seconds` limits the time to connect and each pause between received data. Raises
    DownloadError if the download fails or if the server sends fewer bytes than it announced, and
    OSError if the disk is full.
    """
    console = Console(stderr=True)
    console.print(f"downloading {url}", highlight=False, soft_wrap=True)
    try:
        # Do not use `urlopen`: any library can replace its opener for the whole process.
        with (
            urllib.request.build_opener().open(url, timeout=timeout_seconds) as response,
            to.open("wb") as file,
        ):
            length = int(response.headers.get("Content-Length", 0))
            blocks = range(math.ceil(length / _BLOCK))
            for _ in track_on(console)(blocks, f"{url.rsplit('/', 1)[-1]} (MiB)"):
                file.write(response.read(_BLOCK))
            shutil.copyfileobj(response, file)  # the rest, if the length was not announced
            received = file.tell()
    except (OSError, ValueError, http.client.HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        if full_disk(error):
            raise  # not an error of the download
        raise DownloadError(str(error)) from error
    if length and received != length:
        raise DownloadError(f"the connection ended after {received:,} of {length:,} bytes")
