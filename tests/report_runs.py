"""Made-up folders of searches and ablations."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
from PIL import Image

from fastgan_ray.metrics.names import MOMENTS
from fastgan_ray.report.data.ablation import summarise
from fastgan_ray.search.ablation import cells, data_name
from fastgan_ray.search.file.read_ablation import ablation_from_text

METRIC = "fd_efficientnet_lite0"
HOSTILE = "<script>alert('1')</script>\"&"
PROTOCOL = {"extractor": "efficientnet_lite0", "reference_count": 9, "num_fakes": 4}
SEARCH = """
name: t
method: random
metric: {name: fd_efficientnet_lite0}
base: {eval: {extractor: efficientnet_lite0}}
parameters: {model.ngf: {values: [4, 8]}}
"""
ABLATION = """
name: t
metric: {name: fd_efficientnet_lite0}
baseline: plain
data: [some/cats, dogs]
seeds: 3
base: {eval: {extractor: efficientnet_lite0}}
arms:
  plain:
"""
ARMS = """
  good: {model.d_sle: false}
  "<script>alert('1')</script>": {train.lr_g: 0.001}
"""


def write_search(folder: Path, count: int = 20, **changes: object) -> Path:
    """Write a search whose first trial is the best, with `changes` in summary.json; its folder."""
    draws = random.Random(0)
    folder.mkdir(parents=True)
    (folder / "search.yaml").write_text(SEARCH)
    (folder / "overrides.json").write_text("{}")
    trials = [_trial(folder, number, draws) for number in range(count)]
    best = trials[0] if trials else None
    summary = {
        "name": folder.name,
        "metric": {"name": METRIC, "goal": "minimize"},
        "protocol": PROTOCOL,
        "best": best and {key: best[key] for key in ("trial_id", "value", "error", "state")},
        "default": best and {key: best[key] for key in ("trial_id", "value", "error", "state")},
        "verdict": f"Best: {HOSTILE}.",
        "trials": trials,
    }
    (folder / "summary.json").write_text(json.dumps(summary | changes, allow_nan=False))
    return folder


def _trial(folder: Path, number: int, draws: random.Random) -> dict:
    """Write a trial; trials end in each possible way in turn."""
    states = ("finished", "stopped", "finished", "diverged", "finished", "unfinished")
    state, value = states[number % 6], 200.0 + 10 * number
    ngf, steps = draws.choice([4, 8, 16, 32]), {"stopped": 2, "diverged": 1}.get(state, 4)
    ended = {"finished": "finished", "diverged": "diverged"}.get(state, "running")
    rows = [
        {
            "kimg": 1.0 * step,
            METRIC: value + 400 / step**2 - 25,
            f"{METRIC}_se_fakes": 2.0,
            "seconds": 9.0 * step,
            "images_per_second": 111.0,
            "memorised": 0.25,
            "params_g": ngf**2 * 1000,
            "gflop_g": ngf / 10,
            "peak_memory_gb": 1.5,
            "grid": f"/gone/trials/{number:05d}/grids/1.png",
            "pairs": f"/gone/trials/{number:05d}/pairs/1.png",
            "outcome": ended,
        }
        for step in range(1, steps + 1)
    ]
    trial = folder / "trials" / f"{number:05d}"
    for name in ("grids", "pairs"):
        (trial / name).mkdir(parents=True)
        noise = np.random.default_rng(number).integers(0, 255, (6, 6, 3), dtype=np.uint8)
        side = 6 * 20 - 2  # as a grid of 36 samples of 18 px
        Image.fromarray(noise).resize((side, side), Image.Resampling.NEAREST).save(
            trial / name / "1.png"
        )
    (trial / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    valued = state != "diverged"
    return {
        "trial_id": f"{number:05d}",
        "state": state,
        "value": rows[-1][METRIC] if valued else None,
        "error": 2.0 if valued else None,
        "num_fakes": 4,
        "kimg": rows[-1]["kimg"],
        "seconds": rows[-1]["seconds"],
        "reason": f"why {HOSTILE}",
        "warning": HOSTILE if number in (0, 5) else "",
        "point": {
            "model.ngf": ngf,
            "train.lr_g": 10 ** draws.uniform(-4, -2),
            "augment.policy": draws.choice(["", "color,translation", HOSTILE]),
            **({"train.r1_gamma": 0.1 * number + 0.1} if number % 2 else {}),
        },
    }


def write_ablation(folder: Path) -> Path:
    """Write an ablation of three arms on two data sets, with one diverged training; its folder."""
    spec = ablation_from_text(ABLATION + ARMS, "t.yaml")
    folder.mkdir(parents=True)
    (folder / "ablation.yaml").write_text(ABLATION + ARMS)
    (folder / "overrides.json").write_text(json.dumps({"set": {}, "seeds": [0, 1, 2]}))
    trials = []
    for number, cell in enumerate(cells(spec)):
        value = 40.0 - 20 * (cell.arm == "good") + cell.seed + 0.3 * (number % 3)
        rows = [{"kimg": kimg, METRIC: value + 10 / kimg, "seconds": kimg} for kimg in (1.0, 2.0)]
        trial = folder / "trials" / f"{number:05d}"
        trial.mkdir(parents=True)
        (trial / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        state = "diverged" if number == 5 else "finished"
        trials.append(
            {
                "trial_id": trial.name,
                "arm": cell.arm,
                "data": data_name(cell.data),
                "seed": cell.seed,
                "state": state,
                "value": rows[-1][METRIC] if state == "finished" else None,
                **dict.fromkeys(MOMENTS),
                "kimg": 2.0,
                "seconds": 2.0,
                "reason": "why",
                "rows": rows,
                "protocol": PROTOCOL | {"reference": data_name(cell.data)},
            }
        )
    account = summarise(spec, folder.name, trials, dict.fromkeys(spec.arms, 1.5))
    (folder / "ablation.json").write_text(json.dumps(account, allow_nan=False))
    return folder
