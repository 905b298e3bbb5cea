"""Record the versions of the software that a run uses."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from pathlib import Path

from fastgan_ray.files import write_atomically

PACKAGES = ("fastgan-ray", "torch", "torchvision", "ray", "optuna", "numpy", "pillow")


def note_versions(folder: Path) -> None:
    """Add the current versions to the list in `folder`/versions.json.

    Nothing is added if the last entry of the list has the same versions.
    """
    path = folder / "versions.json"
    history = json.loads(path.read_text()) if path.is_file() else []
    versions = {
        **{name: version(name) for name in PACKAGES},
        "Python": platform.python_version(),
        "system": platform.platform(),
    }
    if history[-1:] != [versions]:
        write_atomically(path, json.dumps([*history, versions], indent=1))
