"""What a process keeps of its memory between trainings."""

from __future__ import annotations

import subprocess
import sys

import pytest

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
