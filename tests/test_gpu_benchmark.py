"""The GPU's benchmark runs where there is none, at a few channels: every section, to its table."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "gpu.py"


pytestmark = pytest.mark.timeout(600)  # on a busy machine; half a minute otherwise


def run(out: Path, seconds: int) -> str:
    command = [sys.executable, str(SCRIPT), "--tiny", "--device", "cpu", f"--out={out}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [*command, f"--seconds={seconds}"], check=True, env=environment, stdout=subprocess.DEVNULL
    )
    return out.read_text()


@pytest.mark.slow
def test_every_section_has_its_numbers(tmp_path):
    text = run(tmp_path / "gpu.md", 500)
    for section in ("Training steps", "Launches", "Trainings side by side", "LPIPS", "Evaluation"):
        assert f"## {section}" in text
    assert "no time left" not in text
    assert text.count("| ours captured |") == 1 and "| 32, 2 | " in text and "\n| 2 | " in text


def test_what_the_time_does_not_suffice_for_is_named(tmp_path):
    assert "Not measured: no time left." in run(tmp_path / "gpu.md", -1)
