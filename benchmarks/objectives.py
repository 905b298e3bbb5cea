"""What each objective costs beside the default settings; writes results/objectives.md.

`python benchmarks/objectives.py [--turns 8] [--resolution 64]`. One process and one thread: each
turn takes some steps of every case, so that a case and the default are measured in turn. Seconds
are of CPU time. Memory is what autograd keeps for the backward passes of a step, as a multiple of
what it keeps for the default settings.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import provenance
from torch import Tensor

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.train.batches import Pictures
from fastgan_ray.train.draws import draw_step, to_device
from fastgan_ray.train.loop import take_batches
from fastgan_ray.train.perceptual import DISTANCES
from fastgan_ray.train.state import TrainState, new_state
from fastgan_ray.train.step import train_step

CPU = torch.device("cpu")
RESULTS = Path(__file__).parent / "results"
SMALL = {"model.ngf": 8, "model.ndf": 8, "model.nz": 128, "model.decoder_width": 4}
BASE = {**SMALL, "train.reconstruction": "l1", "train.device": "cpu"}
R1_R2 = {"train.r1_gamma": 1.0, "train.r2_gamma": 1.0}
SKIPS = {"model.g_wavelet_skips": True}
JUDGED = {"model.d_high_frequency": True}
ALIGNED = {"train.alignment_weight": 1.0}
ADAPTIVE = {"augment.ada_p": 0.3}
CASES: dict[str, dict[str, Any]] = {
    "default": {},
    "LeCam": {"train.lecam_weight": 0.01},
    "gradient gap (DigGAN)": {"train.gradient_gap_weight": 500.0},
    "R1 every 16th step": {"train.loss": "logistic", "train.r1_gamma": 1.0},
    "R3GAN: R1 and R2 at every step": {
        **{"train.loss": "relativistic", "train.r1_interval": 1},
        **R1_R2,
    },
    "APA": {**ADAPTIVE, "augment.policy": "color,translation,apa"},
    "ANDA": {**ADAPTIVE, "augment.policy": "color,translation,anda"},
    "Diffusion-GAN": {**ADAPTIVE, "augment.policy": "color,translation,diffusion"},
    "ADA (bgc)": {**ADAPTIVE, "augment.policy": "bgc"},
    "bCR": {"train.bcr_real_weight": 10.0, "train.bcr_fake_weight": 10.0},
    "zCR": {"train.zcr_d_weight": 5.0, "train.zcr_g_weight": 0.5},
    "MixDL": {"train.mixdl_g_weight": 125.0, "model.d_mixdl": True},
    "FreGAN": {**SKIPS, **JUDGED, **ALIGNED},
    "FreGAN, only the skips": SKIPS,
    "FreGAN, only high frequencies in D": JUDGED,
    "FreGAN, only the alignment": ALIGNED,
    "top-k": {"train.top_k": 0.75},
    "instance noise": {"train.instance_noise": 0.1},
    "contrastive": {"model.self_supervision": "ae_contrastive"},
    "AugSelf-GAN": {"model.self_supervision": "ae_augself"},
    "InsGen": {"model.self_supervision": "ae_insgen"},
    "FakeCLR": {"model.self_supervision": "ae_fakeclr"},
    "CHAIN": {"model.d_norm": "chain", "train.chain_start_kimg": 0.0},
    "group normalisation in D": {"model.d_norm": "group"},
    "projected D": {"model.discriminator": "projected"},
    "generator with single convolutions": {"model.g_blocks": "single"},
}


class Trainer:
    """A training whose steps are timed one by one."""

    def __init__(self, changes: dict[str, Any], resolution: int) -> None:
        self.config = RunConfig.model_validate({**BASE, "model.resolution": resolution, **changes})
        shape = (20, resolution, resolution, 3)
        images = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
        self.pictures = Pictures(images, CPU)
        self.state: TrainState = new_state(self.config, len(images), CPU)
        self.distance = DISTANCES["l1"](CPU)
        self.seconds: list[float] = []

    def step(self) -> float:
        """Take a step; return its CPU seconds."""
        began = time.process_time()
        drawn = draw_step(self.state, self.config)
        draws = to_device(drawn, CPU)
        batches = take_batches(self.pictures, drawn, draws)
        train_step(self.state, draws, batches, self.config, self.distance)
        return time.process_time() - began

    def kept_bytes(self) -> int:
        """Take a step; return the size of all tensors that autograd keeps for backward passes."""
        kept: dict[int, int] = {}

        def keep(tensor: Tensor) -> Tensor:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            self.step()
        return sum(kept.values())


def measure(names: list[str], turns: int, steps: int, resolution: int) -> list[dict[str, Any]]:
    """Return the named cases' step time and kept bytes beside the default's, turn by turn."""
    trainers = {name: Trainer(CASES[name], resolution) for name in names}
    kept = {name: trainer.kept_bytes() for name, trainer in trainers.items()}
    for _ in range(turns):
        for trainer in trainers.values():
            trainer.seconds.append(sum(trainer.step() for _ in range(steps)) / steps)
    default = trainers["default"].seconds
    rows = []
    for name, trainer in trainers.items():
        ratios = [mine / its for mine, its in zip(trainer.seconds, default, strict=True)]
        rows.append({"case": name, "ratios": ratios, "memory": kept[name] / kept["default"]})
    return rows


def table(rows: list[dict[str, Any]], turns: int, resolution: int) -> str:
    """Write the rows as Markdown, with the median ratio and the range over the turns."""
    lines = [
        "# What an objective costs",
        "",
        f"`python benchmarks/objectives.py --turns {turns} --resolution {resolution}`: "
        f"{provenance(['torch'])}.",
        "CPU time of a training step at batch 8 and ngf 8 with L1 reconstruction, divided by that "
        "of the default in the same turn (median, and range over the turns); memory that autograd "
        "keeps for the backward passes, divided by that of the default.",
        "",
        "| setting | time | memory |",
        "|---|---|---|",
    ]
    for row in rows:
        ratios = row["ratios"]
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        time_text = f"{statistics.median(ratios):.2f} ({spread})"
        lines.append(f"| {row['case']} | {time_text} | {row['memory']:.2f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--steps", type=int, default=4, help="steps of a case in one turn")
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--out", type=Path, default=RESULTS / "objectives.md")
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = measure(
        list(dict.fromkeys(["default", *options.cases])),
        options.turns,
        options.steps,
        options.resolution,
    )
    text = table(rows, options.turns, options.resolution)
    options.out.write_text(text)
    print(text, end="")


if __name__ == "__main__":
    main()
