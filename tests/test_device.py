"""What a process keeps of its memory between trainings, and how cuDNN chooses algorithms."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from fastgan_ray.config.run_config import RunConfig, nest
from fastgan_ray.train.device import measure_convolutions

# 400 MB come and go, in tensors as a training has them.
PEAKS = """
import torch
from fastgan_ray.train.device import forget_training, keep_freed_memory
from fastgan_ray.train.costs import peak_memory_gb
device = torch.device("cpu")
keep_freed_memory()
forget_training()  # what the imports took
before = peak_memory_gb(device)
tensors = [torch.ones(10_000_000) for _ in range(10)]
during = peak_memory_gb(device)
del tensors
after = peak_memory_gb(device)
forget_training()
print(during - before, after - before, peak_memory_gb(device) - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux can forget a peak")
def test_a_trial_does_not_report_the_peak_of_the_one_before_it_in_its_process():
    told = subprocess.run([sys.executable, "-c", PEAKS], check=True, capture_output=True, text=True)
    during, after, forgotten = map(float, told.stdout.split())
    assert during > 0.35 and after > 0.35 and forgotten < 0.1


@pytest.mark.parametrize("precision", ["fp32", "auto", "bf16"])
def test_only_a_training_that_repeats_exactly_keeps_cudnn_from_choosing(
    precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", precision == "fp32")
    measure_convolutions(RunConfig.model_validate(nest({"train.precision": precision})))
    assert torch.backends.cudnn.benchmark == (precision != "fp32")
