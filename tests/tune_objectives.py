"""Stand-ins for training in the tests of the search: seconds become milliseconds.

Trials run in other processes, which import this module; what they did is read from files.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.errors import DivergedError, InterruptedRunError
from fastgan_ray.train.reporter import INTERRUPTED, Reporter

PATIENCE = 120.0
MOST_HOGGED = 400  # times 32 MB
METRIC = "fd_efficientnet_lite0"


def loss(config: RunConfig, kimg: float) -> float:
    """What a trial measures: best at lr_g = 1e-3 and a large ngf, falling with kimg."""
    return abs(config.train.lr_g * 1000 - 1) * 10 + 64 / config.model.ngf + 4 / kimg


def note(reporter: Reporter, text: str) -> None:
    """Add a line to the trial's log of what was really run."""
    with (reporter.folder / "ran.txt").open("a") as file:
        file.write(f"{text}\n")


def evaluate(
    config: RunConfig, reporter: Reporter, kimg: float, value: float, **state: object
) -> None:
    """What the training loop does at an evaluation; `state` is what a resume needs."""
    folder = reporter.folder / f"checkpoint-{round(kimg * 1000):09d}"
    folder.mkdir(exist_ok=True)
    draft = folder / "draft.json"
    draft.write_text(json.dumps({"kimg": kimg, "protocol": {"test": 1}, **state}))
    draft.replace(folder / "metadata.json")
    (reporter.folder / "grid.png").write_bytes(b"no picture")
    note(reporter, f"{kimg:g}")
    metrics = {"kimg": kimg, "seconds": kimg / 10, "images_per_second": 10.0, METRIC: value}
    reporter.report({**metrics, "grid": str(reporter.folder / "grid.png")}, folder)
    for older in reporter.folder.glob("checkpoint-*"):
        if older != folder:
            shutil.rmtree(older)


def smooth(config: RunConfig, reporter: Reporter, resume_from: Path | None) -> None:
    """A run that goes well: an evaluation at every whole kimg."""
    start = json.loads((resume_from / "metadata.json").read_text())["kimg"] if resume_from else 0
    note(reporter, f"begin at {start:g}")
    for kimg in range(int(start) + 1, int(config.train.total_kimg) + 1):
        evaluate(config, reporter, float(kimg), loss(config, kimg))


def on_a_bad_gpu(config: RunConfig, reporter: Reporter, resume_from: Path | None) -> None:
    """A run that dies of the machine's fault on GPU 1, and notes which GPU it has."""
    gpu = os.environ["CUDA_VISIBLE_DEVICES"]
    note(reporter, f"gpu {gpu}")
    if gpu == "1":
        raise RuntimeError("CUDA error: uncorrectable ECC error encountered")
    smooth(config, reporter, resume_from)


def visible_gpus(config: RunConfig, reporter: Reporter, resume_from: Path | None) -> None:
    """A run that goes well, and notes which GPUs its process sees."""
    note(reporter, f"visible {os.environ.get('CUDA_VISIBLE_DEVICES')!r}")
    smooth(config, reporter, resume_from)


def named_by_process(config: RunConfig, reporter: Reporter, resume_from: Path | None) -> None:
    """A run that goes well, or has a bug at ngf 8, and notes in which process."""
    note(reporter, str(os.getpid()))
    if config.model.ngf == 8:
        raise RuntimeError("a bug")
    for kimg in range(1, int(config.train.total_kimg) + 1):
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
    _wait_in("00002", config, reporter, resume_from)


def slow_second(config: RunConfig, reporter: Reporter, resume_from: Path | None) -> None:
    """As `slow_third`, but the second trial waits."""
    _wait_in("00001", config, reporter, resume_from)


def _wait_in(name: str, config: RunConfig, reporter: Reporter, resume_from: Path | None) -> None:
    if reporter.folder.name == name and resume_from is None:
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


def patient(config: RunConfig, reporter: Reporter, resume_from: Path | None) -> None:
    """As `smooth`, but the third trial, in the first process, steps until it is asked to stop, and
    is saved then between two evaluations."""
    if reporter.folder.name == "00002" and resume_from is None:
        note(reporter, "begin at 0")
        evaluate(config, reporter, 1.0, loss(config, 1))
        note(reporter, "waiting")
        deadline = time.monotonic() + PATIENCE
        while not reporter.stopping():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        folder = reporter.folder / INTERRUPTED
        folder.mkdir()
        (folder / "metadata.json").write_text(json.dumps({"kimg": 1.5}))
        raise InterruptedRunError("stopped")
    smooth(config, reporter, resume_from)


def disk_filler(config: RunConfig, reporter: Reporter, resume_from: Path | None) -> None:
    """As `smooth`; the first process fills the disk after 2 kimg."""
    if resume_from is None:
        note(reporter, "begin at 0")
        evaluate(config, reporter, 1.0, loss(config, 1))
        evaluate(config, reporter, 2.0, loss(config, 2))
        fill(reporter.folder.parents[2] / "filler")
        resume_from = reporter.folder / "checkpoint-000002000"
    smooth(config, reporter, resume_from)


def fill(path: Path) -> None:
    """Write until the disk is full."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        for size in (2**16, 1):
            with contextlib.suppress(OSError):
                while file.write(bytes(size)) == size:
                    pass


def on_a_node(config: RunConfig, reporter: Reporter, resume_from: Path | None) -> None:
    """As `smooth`, with a note of the machine; the first process waits there after 1 kimg."""
    import ray

    note(reporter, f"on {ray.get_runtime_context().get_node_id()}")
    if resume_from is None:
        evaluate(config, reporter, 1.0, loss(config, 1))
        note(reporter, "waiting")
        while not reporter.stopping():  # as the training loop asks after each step
            time.sleep(0.05)
        raise InterruptedRunError("stopped at 1 kimg")
    smooth(config, reporter, resume_from)


def stepwise(config: RunConfig, reporter: Reporter, resume_from: Path | None) -> None:
    """A training small enough for a thousand starts: 20 steps of a noisy descent a kimg, of which
    each depends on all before it; it saves between two evaluations if it is asked to stop."""
    (reporter.folder / "pid.txt").write_text(str(os.getpid()))
    rng, step, weights = np.random.default_rng(config.model.ngf), 0, np.zeros(8)
    if resume_from is not None:
        saved = json.loads((resume_from / "metadata.json").read_text())
        rng.bit_generator.state = saved["rng"]
        step, weights = saved["step"], np.array(saved["weights"])
    while step < 20 * config.train.total_kimg:
        weights = weights - config.train.lr_g * (weights - 1 + rng.normal(size=8))
        step += 1
        time.sleep(0.02)
        state = {"step": step, "rng": rng.bit_generator.state, "weights": weights.tolist()}
        if step % 20 == 0:
            value = float(np.square(weights - 1).sum())
            evaluate(config, reporter, step / 20, value, **state)
            shutil.rmtree(reporter.folder / INTERRUPTED, ignore_errors=True)
        elif reporter.stopping():
            draft = reporter.folder / f".{INTERRUPTED}.draft"
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir()
            (draft / "metadata.json").write_text(json.dumps({"kimg": step / 20, **state}))
            shutil.rmtree(reporter.folder / INTERRUPTED, ignore_errors=True)
            draft.rename(reporter.folder / INTERRUPTED)
            raise InterruptedRunError("stopped")


def memory_hog(config: RunConfig, reporter: Reporter, resume_from: Path | None) -> None:
    """As `smooth`, but with ngf 8 it takes memory without end after 1 kimg."""
    if config.model.ngf != 8:
        return smooth(config, reporter, resume_from)
    note(reporter, "begin")
    evaluate(config, reporter, 1.0, loss(config, 1))
    taken = []
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and len(taken) < MOST_HOGGED:
        taken.append(bytearray(os.urandom(2**20)) * 32)
        time.sleep(0.02)
    raise AssertionError("nobody stopped it")


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


def promising(config: RunConfig, reporter: Reporter, resume_from: Path | None) -> None:
    """As `promising_to_the_end`, but the second seed of the best trial interrupts the driver once.

    The trials of the search have the seed 2.
    """
    first = not (reporter.folder / "pid.txt").exists()
    if config.model.ngf != 64 and config.train.seed == 3 and first:
        evaluate(config, reporter, 1.0, 50.0)
        (reporter.folder / "pid.txt").write_text(str(os.getpid()))
        os.kill(int(os.environ["DRIVER"]), signal.SIGINT)
        time.sleep(600)
    promising_to_the_end(config, reporter, resume_from)


def promising_to_the_end(config: RunConfig, reporter: Reporter, resume_from: Path | None) -> None:
    """As `smooth`; ngf below 64 is a sixth better, so that one seed is not enough."""
    start = json.loads((resume_from / "metadata.json").read_text())["kimg"] if resume_from else 0
    note(reporter, f"begin at {start:g}")
    for kimg in range(int(start) + 1, int(config.train.total_kimg) + 1):
        value = 20.0 if config.model.ngf == 64 else 16.7
        evaluate(config, reporter, float(kimg), value + 0.1 * config.train.seed)


def broken(config: RunConfig, reporter: Reporter, resume_from: Path | None) -> None:
    """A run that fails at once, as with a device that does not exist."""
    note(reporter, "begin")
    raise ValueError(f"no GPU {config.train.seed}")
