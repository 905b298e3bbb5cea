"""The wheel: what is in it, and where its version is from."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from command_line import call

import fastgan_ray

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built by the build backend of this environment."""
    out = tmp_path_factory.mktemp("wheel")
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check")
    command = [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", str(out), str(ROOT)]
    subprocess.run(command, check=True, timeout=200, env={**os.environ, "PIP_NO_INDEX": "1"})
    (path,) = out.iterdir()
    return zipfile.ZipFile(path)


def test_the_wheel_has_every_file_of_the_package_and_the_presets(wheel):
    listed = ["git", "ls-files", "fastgan_ray", "search_spaces"]
    files = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    expected = {re.sub("^search_spaces/", "fastgan_ray/search_spaces/", f) for f in files.split()}
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert expected <= packed
    strangers = {name for name in packed if not name.startswith("fastgan_ray/")}
    assert strangers == set()
    assert "fastgan_ray/search_spaces/demo.yaml" in packed


def test_the_version_has_one_place(wheel, capsys):
    (metadata,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    assert f"\nVersion: {fastgan_ray.__version__}\n" in wheel.read(metadata).decode()
    assert call("--version") == 0
    assert capsys.readouterr().out == f"{fastgan_ray.__version__}\n"
    assert "version = " not in (ROOT / "pyproject.toml").read_text().partition("[tool.")[0]
    assert f"## {fastgan_ray.__version__}\n" in (ROOT / "CHANGELOG.md").read_text()


def test_the_licences_are_in_the_wheel(wheel):
    licences = [name for name in wheel.namelist() if ".dist-info/licenses/" in name]
    assert any(name.endswith("/LICENSE") for name in licences)
    assert sum(name.endswith(".LICENSE.txt") for name in licences) == 2
