"""Stand-ins for training in the tests of the search: seconds become milliseconds.

Trials run in other processes, which import this module; what they did is read from files.
"""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

from fastgan_ray.config.schema import RunConfig
from fastgan_ray.errors import DivergedError
from fastgan_ray.train.reporter import Reporter

METRIC = "fd_efficientnet_lite0"


def loss(config: RunConfig, kimg: float) -> float:
    """What a trial measures: best at lr_g = 1e-3 and a large ngf, falling with kimg."""
    return abs(config.train.lr_g * 1000 - 1) * 10 + 64 / config.model.ngf + 4 / kimg


def note(reporter: Reporter, text: str) -> None:
    """Add a line to the trial's log of what was really run."""
    with (reporter.folder / "ran.txt").open("a") as file:
        file.write(f"{text}\n")


def evaluate(config: RunConfig, reporter: Reporter, kimg: float, value: float) -> None:
    """What the training loop does at an evaluation."""
    folder = reporter.folder / f"checkpoint-{round(kimg * 1000):09d}"
    folder.mkdir(exist_ok=True)
    (folder / "metadata.json").write_text(json.dumps({"kimg": kimg, "protocol": {"test": 1}}))
    (reporter.folder / "grid.png").write_bytes(b"no picture")
    note(reporter, f"{kimg:g}")
    metrics = {"kimg": kimg, "seconds": kimg / 10, "images_per_second": 10.0, METRIC: value}
    reporter.report({**metrics, "grid": str(reporter.folder / "grid.png")}, folder)
    for older in reporter.folder.glob("checkpoint-*"):
        if older != folder:
            (older / "metadata.json").unlink()
            older.rmdir()


def smooth(config: RunConfig, reporter: Reporter, resume_from: Path | None) -> None:
    """A run that goes well: an evaluation at every whole kimg."""
    start = json.loads((resume_from / "metadata.json").read_text())["kimg"] if resume_from else 0
    note(reporter, f"begin at {start:g}")
    for kimg in range(int(start) + 1, int(config.train.total_kimg) + 1):
        evaluate(config, reporter, float(kimg), loss(config, kimg))


def troubled(config: RunConfig, reporter: Reporter, resume_from: Path | None) -> None:
    """By ngf: 8 diverges, 16 has no memory, 32 has a bug, 64 reports NaN, others go well."""
    if config.model.ngf != 16:
        evaluate(config, reporter, 1.0, loss(config, 1))
    if config.model.ngf == 8:
        raise DivergedError("loss/d is not finite at step 12")
    if config.model.ngf == 16:
        raise RuntimeError(
            "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"
        )
    if config.model.ngf == 32:
        raise KeyError("bug")
    if config.model.ngf == 64:
        evaluate(config, reporter, 2.0, float("nan"))
    smooth(config, reporter, reporter.folder / "checkpoint-000001000")


def killed_once(config: RunConfig, reporter: Reporter, resume_from: Path | None) -> None:
    """The process is killed at 2 kimg, once."""
    if resume_from is None:
        evaluate(config, reporter, 1.0, loss(config, 1))
        evaluate(config, reporter, 2.0, loss(config, 2))
        os.kill(os.getpid(), signal.SIGKILL)
    smooth(config, reporter, resume_from)


def slow_third(config: RunConfig, reporter: Reporter, resume_from: Path | None) -> None:
    """As `smooth`; the third trial waits at 2 kimg, in the first process, to be killed there."""
    if reporter.folder.name == "00002" and resume_from is None:
        note(reporter, "begin at 0")
        evaluate(config, reporter, 1.0, loss(config, 1))
        evaluate(config, reporter, 2.0, loss(config, 2))
        (reporter.folder / "pid.txt").write_text(str(os.getpid()))
        note(reporter, "waiting")
        time.sleep(600)
    smooth(config, reporter, resume_from)


def seeded(config: RunConfig, reporter: Reporter, resume_from: Path | None) -> None:
    """As `smooth`, but each seed has its own level; ngf 8 diverges half way with seed 1."""
    note(reporter, "begin")
    for kimg in range(1, int(config.train.total_kimg) + 1):
        if config.model.ngf == 8 and config.train.seed == 1 and kimg > 1:
            raise DivergedError("loss/d is not finite at step 12")
        noise = 0.01 * ((config.train.seed * 7 + config.model.ngf) % 5)
        evaluate(config, reporter, float(kimg), loss(config, kimg) + 10 * config.train.seed + noise)


def inherited(config: RunConfig, reporter: Reporter, resume_from: Path | None) -> None:
    """Each kimg takes the rate's worth off a debt that a checkpoint carries; notes every start."""
    start, debt = 0, 100.0
    if resume_from is not None:
        state = json.loads((resume_from / "metadata.json").read_text())
        start, debt = int(state["kimg"]), state["debt"]
    note(reporter, f"begin at {start} with lr_g {config.train.lr_g:.6g}, debt {debt:.6g}")
    for kimg in range(start + 1, int(config.train.total_kimg) + 1):
        debt -= 1000 * config.train.lr_g
        folder = reporter.folder / f"checkpoint-{kimg * 1000:09d}"
        folder.mkdir(exist_ok=True)
        metadata = {"kimg": kimg, "debt": debt, "protocol": {"test": 1}}
        (folder / "metadata.json").write_text(json.dumps(metadata))
        row = {"kimg": float(kimg), "seconds": kimg / 10, "images_per_second": 10.0, METRIC: debt}
        reporter.report(row, folder)


def lucky(config: RunConfig, reporter: Reporter, resume_from: Path | None) -> None:
    """As `smooth`; ngf below 64 is good with seed 2 and best with 4, and worse with the others.

    The second training with another seed than 2 interrupts the driver, once.
    """
    start = json.loads((resume_from / "metadata.json").read_text())["kimg"] if resume_from else 0
    note(reporter, f"begin at {start:g}")
    wide, seed = config.model.ngf == 64, config.train.seed
    if not wide and seed == 1 and not (reporter.folder / "pid.txt").exists():
        evaluate(config, reporter, 1.0, 50.0)
        (reporter.folder / "pid.txt").write_text(str(os.getpid()))
        os.kill(int(os.environ["DRIVER"]), signal.SIGINT)
        time.sleep(600)
    value = 20.0 if wide else {2: 10.0, 4: 1.0}.get(seed, 25.0 + seed)
    for kimg in range(int(start) + 1, int(config.train.total_kimg) + 1):
        evaluate(config, reporter, float(kimg), value + 0.1 * seed)
