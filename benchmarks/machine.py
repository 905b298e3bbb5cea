"""The line that says when, on what and with which versions a benchmark ran."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path


def provenance(libraries: Sequence[str]) -> str:
    """Date, processor, Python, and the versions of these packages."""
    versions = ", ".join(f"{library} {version(library)}" for library in libraries)
    python = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    today = datetime.datetime.now(datetime.timezone.utc).date()
    return f"{today}; {os.cpu_count()} cores, {_processor()}; {python}; {versions}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
