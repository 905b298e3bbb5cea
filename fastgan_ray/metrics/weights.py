"""Where the weights of the feature networks are found, fetched from and checked."""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import sys
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import torch

from fastgan_ray.config.paths import cache_dir
from fastgan_ray.config.schema import RunConfig
from fastgan_ray.data.cache import atomic_file
from fastgan_ray.errors import UserError

_TIMEOUT_SECONDS = 10  # to connect, and between two reads


@dataclass(frozen=True)
class Weights:
    """One published file of weights: how to know it, where to get it, how to do without it."""

    filename: str
    sha256: str
    url: str  # of the folder
    purpose: str
    instead: str


def weights_path(name: str) -> Path:
    """The checked file of the weights `name` (a key of WEIGHTS), downloaded on first use.

    Looked for in `cache_dir()/weights`, then where clean-fid and torch hub keep theirs, then at
    the publisher's address (FASTGAN_RAY_WEIGHTS_URL replaces its folder). UserError where none
    of them has it, or where the cache holds a file of another content.
    """
    weights = WEIGHTS[name]
    own = cache_dir() / "weights" / weights.filename
    if own.is_file():
        if (found := file_sha256(own)) != weights.sha256:
            raise UserError(
                f"{own}: must be the published file with sha256 {weights.sha256} (got {found}). "
                f"Remove it, or replace it by {_url(weights)}"
            )
        return own
    for folder in _shared_folders():
        path = folder / weights.filename
        # Others write here, not always atomically: what does not match is not theirs to answer for.
        if path.is_file() and file_sha256(path) == weights.sha256:
            return path
    _download(weights, own)
    return own


def require_weights(config: RunConfig) -> None:
    """Make sure that every weight file a run needs is at hand, before anything expensive.

    One UserError for all that are missing.
    """
    needed = []
    if config.eval.extractor == "inception":
        needed.append("inception")
    if config.train.reconstruction == "lpips_vgg":
        needed.append("vgg16")
    problems = []
    for name in needed:
        try:
            weights_path(name)
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError("\n".join(problems))


def file_sha256(path: Path) -> str:
    """The sha256 of a file's content in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _shared_folders() -> list[Path]:
    """Where clean-fid (the system's temporary folder) and torch hub put what they download."""
    return [Path(tempfile.gettempdir()), Path(torch.hub.get_dir()) / "checkpoints"]


def _url(weights: Weights) -> str:
    base = os.environ.get("FASTGAN_RAY_WEIGHTS_URL") or weights.url
    return f"{base.rstrip('/')}/{weights.filename}"


def _download(weights: Weights, target: Path) -> None:
    url = _url(weights)
    print(f"downloading {url}", file=sys.stderr)
    with atomic_file(target) as partial:
        try:
            # An opener of its own, because urlopen's can be replaced for the whole process.
            answer = urllib.request.build_opener().open(url, timeout=_TIMEOUT_SECONDS)
            with answer, partial.open("wb") as file:
                shutil.copyfileobj(answer, file)
        except (OSError, ValueError, http.client.HTTPException) as error:
            if isinstance(error, urllib.error.HTTPError):
                error.close()
            raise _missing(weights, target, f"could not be downloaded ({error})") from error
        if (found := file_sha256(partial)) != weights.sha256:
            size = partial.stat().st_size
            reason = f"has another content there: sha256 {found}, {size:,} bytes"
            raise _missing(weights, target, reason)


def _missing(weights: Weights, target: Path, reason: str) -> UserError:
    return UserError(
        f"{weights.purpose} needs {weights.filename}, which {reason}.\n"
        f"  Get it from  {_url(weights)}\n"
        f"  and put it at  {target}\n"
        f"  (sha256 {weights.sha256}),\n"
        f"  {weights.instead}"
    )


WEIGHTS = {
    # The checksum is the one that k-diffusion and others publish for NVIDIA's file.
    "inception": Weights(
        filename="inception-2015-12-05.pt",
        sha256="f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4",
        url="https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics",
        purpose="FID (eval.extractor: inception)",
        instead="or use the embedded network: --embedded (eval.extractor: efficientnet_lite0), "
        "whose distance is not an FID and is not called so.",
    ),
    # torchvision's name carries the checksum's beginning.
    "vgg16": Weights(
        filename="vgg16-397923af.pth",
        sha256="397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        url="https://download.pytorch.org/models",
        purpose="LPIPS (train.reconstruction: lpips_vgg)",
        instead="or reconstruct without it: --embedded (which sets train.reconstruction too), or "
        "train.reconstruction: l1 or efficientnet_lite0.",
    ),
}
