"""CONTRIBUTING.md: each worked example applies, is short, and what it adds passes the checks."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from documentation import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text()
EXAMPLES = dict(re.findall(r"^### ([^\n]+)\n\n```diff\n(.*?)^```$", TEXT, re.M | re.S))
LONGEST = 30  # lines
TABLES = TEXT.split("## Where things are\n")[1].split("\n## ")[0]
# What sees that the example works, in the copy that it is applied to.
CHECKS = {
    "A loss": "from fastgan_ray.train.losses import LOSSES; LOSSES['absolute']",
    "An augmentation": "import torch; from fastgan_ray.config.augment import AugmentConfig; "
    "from fastgan_ray.augment.augmentation_leak import measure_symptoms; "
    "from fastgan_ray.augment.diffaugment import grey; pictures = torch.rand(2, 4, 8, 8); "
    "changed = grey(pictures, {'chosen': torch.tensor([True, False])}); "
    "assert torch.equal(changed[:, 3], pictures[:, 3]); "
    "measure_symptoms(torch.rand(8, 3, 32, 32), torch.rand(8, 3, 32, 32), "
    "AugmentConfig(policy='grey'), 0.5)",
    "A metric": "from fastgan_ray.metrics.evaluate import METRICS; METRICS['mean_shift']; "
    "from fastgan_ray.search.file.read import spec_from_text; "
    "spec_from_text('method: random\\nmetric: {name: mean_shift}\\n"
    "parameters: {model.ngf: {values: [4, 8]}}', 'search.yaml'); "
    "from fastgan_ray.config.evaluation import EvalConfig; "
    "from fastgan_ray.metrics.names import run_metric; "
    "assert run_metric(EvalConfig(metric='coverage'))[0] == 'coverage_k5'; "
    "assert run_metric(EvalConfig(metric='mean_shift'))[0] == 'mean_shift'",
    "A sampler": "from fastgan_ray.tune.suggest.samplers import SAMPLERS; SAMPLERS['tpe_joint']; "
    "from fastgan_ray.search.file.schema import json_schema; "
    "assert 'tpe_joint' in str(json_schema('search')['properties']['sampler'])",
    "An extractor": "import torch; from fastgan_ray.metrics.extractors import load_extractor; "
    "assert load_extractor('efficientnet_lite0_wide', torch.device('cpu')).size == 320",
    "A data set": "from fastgan_ray.data.catalog import CATALOG; CATALOG['100-shot-lighthouse']",
}


def in_a_copy(example: str, folder: Path, *command: str) -> None:
    """Apply an example to a copy of the project, and run Python there."""
    for name in ("fastgan_ray", "tests", "search_spaces", "benchmarks"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    subprocess.run(["git", "apply", "-p1"], input=example, text=True, check=True, cwd=folder)
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_there_is_an_example_of_each_kind():
    assert EXAMPLES.keys() == CHECKS.keys()


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_applies_and_is_short(name, tmp_path):
    assert len(EXAMPLES[name].splitlines()) < LONGEST
    in_a_copy(EXAMPLES[name], tmp_path, "-c", CHECKS[name])


def test_the_new_loss_passes_the_conformance_tests(tmp_path):
    suites = ["conformance", "step", "losses", "ablation_spec", "yaml_io"]
    which = "absolute or preset_of_losses or all_errors_at_once"
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", which]
    command += [f"tests/test_{suite}.py" for suite in suites]
    in_a_copy(EXAMPLES["A loss"], tmp_path, *command)


def test_the_list_of_files_is_current():
    page = runpy.run_path(str(ROOT / "docs" / "list_files.py"))["page"](TEXT)
    assert page == TEXT, "run: make files"


def test_every_place_of_the_tables_exists():
    rows = [line.split(" | ") for line in TABLES.splitlines() if line.startswith("| ")]
    rows = [row for row in rows if row[0] != "| to add or change"]
    assert len(rows) > 50
    folders = (ROOT, ROOT / "fastgan_ray")
    for _, places, tests in rows:
        paths = re.findall(
            r"`(Makefile|\w[\w/]*(?:/|\.py|\.md|\.css|\.js|\.toml|\.html\.j2))`", places
        )
        assert paths, places
        assert not [path for path in paths if not any((root / path).exists() for root in folders)]
        names = re.findall(r"test_\w+", tests)
        assert names, tests
        assert not [name for name in names if not (ROOT / "tests" / f"{name}.py").exists()]


def test_every_name_of_the_tables_is_in_its_file():
    names, files = r"(?:`\w+`(?:, | and ))*`\w+`", r"`[\w/]+\.py`(?: and in `[\w/]+\.py`)*"
    pairs = re.findall(rf"({names}) in ({files})", TABLES)
    assert len(pairs) > 20
    for names_text, files_text in pairs:
        for path in re.findall(r"[\w/]+\.py", files_text):
            text = (ROOT / "fastgan_ray" / path).read_text()
            assert not [n for n in re.findall(r"`(\w+)`", names_text) if n not in text], path
