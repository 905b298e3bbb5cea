"""The training loop: when to evaluate, save and stop; an error if losses are not finite."""

from __future__ import annotations

import math
import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.data.cached_array import load_images
from fastgan_ray.data.sets import open_sets
from fastgan_ray.distributed import ALONE, Group
from fastgan_ray.errors import DivergedError, InterruptedRunError
from fastgan_ray.metrics.extractors import load_extractor
from fastgan_ray.metrics.protocol import protocol
from fastgan_ray.metrics.reference import load_sets
from fastgan_ray.models.kernels import reference_kernels
from fastgan_ray.progress import Track, silently
from fastgan_ray.train import checkpoint
from fastgan_ray.train.batches import Pictures
from fastgan_ray.train.best import continue_from
from fastgan_ray.train.captured import StepRunner, can_capture, capture_on_cuda
from fastgan_ray.train.costs import sampling_gflop
from fastgan_ray.train.device import (
    device_of,
    keep_freed_memory,
    training_arithmetic,
    use_bf16,
    wait_for,
)
from fastgan_ray.train.diagnostics import real_sample
from fastgan_ray.train.draws import Draws, draw_step, to_device
from fastgan_ray.train.evaluation import Run, evaluate_and_report
from fastgan_ray.train.initial_weights import change_since, check_start, read_source, start_from
from fastgan_ray.train.log import is_log, log_row, start_log, sums_were_reset
from fastgan_ray.train.perceptual import load_distance
from fastgan_ray.train.reporter import INTERRUPTED, Reporter
from fastgan_ray.train.resume import require_same_pictures
from fastgan_ray.train.state import (
    TrainState,
    accumulate_losses,
    new_state,
    pop_mean_losses,
    sums_now,
)
from fastgan_ray.train.threads import cpu_threads

# To read a loss, the CPU must wait for the device, so losses on a GPU are checked less often.
STEPS_BETWEEN_CHECKS = {"cpu": 1}


def train(
    config: RunConfig,
    reporter: Reporter,
    resume_from: Path | None = None,
    group: Group = ALONE,
    track: Track = silently,
) -> None:
    """Train for `config.train.total_kimg` thousand images; report every evaluation.

    `resume_from` is a checkpoint of the same training, made on any device. The next steps are the
    same as without the interruption; on the CPU, they are equal bit for bit. `track` shows the
    progress of reading pictures and of evaluations; `reporter` receives the progress of the
    training. On the CPU, `resources.cpus` is the number of threads.

    Every process of a `group` calls this function with the same arguments. Only the first process
    reports metrics. A checkpoint can be resumed with any number of processes.

    Raises UserError for bad input. Raises DivergedError if a loss or a metric is not finite. Raises
    InterruptedRunError if the reporter asks to stop before the end; the state is saved first.
    """
    with cpu_threads(config.resources):
        if resume_from is None:
            check_start(config)
        _train(_prepare(config, track), reporter, resume_from, group)


def _train(run: Run, reporter: Reporter, resume_from: Path | None, group: Group) -> None:
    config = run.config
    state = new_state(config, len(run.images), run.device, group)
    if resume_from is None and config.train.init_from is not None:
        start_from(state, read_source(config.train), config)
    if resume_from is not None:
        _restore(resume_from, state, run, reporter.folder, group)
        if change := change_since(state.start, config.train):
            warnings.warn(change, stacklevel=2)
    bf16 = use_bf16(config, run.device)
    images, last_step = config.train.images_per_step, total_steps(config)
    pictures = Pictures(run.images, run.device)
    capture = capture_on_cuda if can_capture(state, config, run.device) else None
    run_step = StepRunner(state, config, run.distance, bf16, capture)
    has_log = config.train.log_every_kimg > 0
    if has_log:
        start_log(state)
    check_every = STEPS_BETWEEN_CHECKS.get(run.device.type, 32)
    started = time.monotonic() - state.seconds
    while state.step < last_step:
        host_draws = draw_step(state, config)
        draws = to_device(host_draws, run.device)
        with training_arithmetic(config), reference_kernels(config.train.precision == "fp32"):
            batches = take_batches(pictures, host_draws, draws)
            losses = run_step(draws, batches)
        accumulate_losses(state, losses)
        evaluating = is_evaluation(state.step, config)
        logging = has_log and (evaluating or is_log(state.step, config))
        checking = evaluating or state.step % check_every == 0
        if checking:
            _check_finite(state, images)
            state.seconds = _seconds_since(started, run.device)
        if logging and group.rank == 0:
            state.seconds = _seconds_since(started, run.device)
            reporter.log(log_row(state, config, run.device))
        reporter.progress(state.step * images / 1000, time.monotonic() - started)
        if evaluating:
            means, last = pop_mean_losses(state), state.step == last_step
            sums_were_reset(state)
            group.on_rank_zero(partial(evaluate_and_report, state, run, means, reporter, last))
            started = time.monotonic() - state.seconds  # evaluation is not training time
        # Several processes must wait for each other to decide together whether to stop.
        asking = checking or group.size == 1
        if state.step < last_step and asking and group.any(reporter.stopping()):
            if not evaluating:
                state.seconds = _seconds_since(started, run.device)
                group.on_rank_zero(partial(save_between, state, run, reporter.folder))
            kimg = state.step * images / 1000
            raise InterruptedRunError(f"the training is saved at {kimg:g} kimg")


def _restore(resume_from: Path, state: TrainState, run: Run, folder: Path, group: Group) -> None:
    """Load the checkpoint `resume_from` into `state`; prepare the run's best checkpoints.

    `folder` is the folder of this run (see `continue_from`). Raises UserError if the checkpoint
    does not fit the run or its pictures.
    """
    checkpoint.restore(resume_from, state, run.config)
    metadata = checkpoint.read_metadata(resume_from)
    require_same_pictures(metadata, run.pictures, resume_from)
    group.on_rank_zero(partial(continue_from, resume_from.parent, folder, metadata["kimg"]))


def save_between(state: TrainState, run: Run, folder: Path) -> None:
    """Save the state of a training that stops between two evaluations."""
    info = {"kimg": state.step * run.config.train.images_per_step / 1000, "pictures": run.pictures}
    checkpoint.save(folder / INTERRUPTED, state, run.config, info)


def total_steps(config: RunConfig) -> int:
    """Return the smallest number of steps that shows at least `total_kimg` thousand images."""
    return math.ceil(config.train.total_kimg * 1000 / config.train.images_per_step)


def is_evaluation(step: int, config: RunConfig) -> bool:
    """Return whether to evaluate after `step`, counted from 1.

    An evaluation follows the first step that reaches each multiple of `eval.every_kimg`, and the
    last step of the run.
    """
    images, every = config.train.images_per_step, config.eval.every_kimg * 1000
    passed = math.floor(step * images / every) > math.floor((step - 1) * images / every)
    return passed or step == total_steps(config)


def take_batches(pictures: Pictures, host_draws: Draws, draws: Draws) -> list[Tensor]:
    """Return a step's real pictures: a list with a batch (B, C, H, W) for each turn of D.

    `host_draws` and `draws` are the same draws on the CPU and on the device.
    """
    return [
        pictures.batch(on_host.indices, on_device.indices, on_device.mirrored)
        for on_host, on_device in zip(host_draws.turns, draws.turns, strict=True)
    ]


def _prepare(config: RunConfig, track: Track) -> Run:
    device = device_of(config)
    keep_freed_memory()
    # `data.limit` limits only the training pictures, not the pictures of the metrics' reference.
    sets = open_sets(config, track)
    background = config.data.background
    measure_with, description = None, dict[str, Any]()
    if config.eval.extractor != "none":
        extractor = load_extractor(
            config.eval.extractor, device, background, config.eval.picture_px
        )
        measure_with = load_sets(sets, config, extractor, track), extractor
        description = protocol(config, extractor, sets.reference)
    images = load_images(sets.training, config.data, config.model.size, track)
    return Run(
        config=config,
        device=device,
        images=images,
        pictures=sets.training.digest[:16],
        real_sample=real_sample(images, config.data.flip),
        source=sets.pool,
        measure_with=measure_with,
        distance=load_distance(config.train.reconstruction, device, background),
        protocol=description,
        gflop_g=round(sampling_gflop(config), 6),
        track=track,
    )


def _seconds_since(started: float, device: torch.device) -> float:
    """Return the seconds since `started`, a value of the monotonic clock.

    First wait until the device has finished its work.
    """
    wait_for(device)
    return time.monotonic() - started


def _check_finite(state: TrainState, images: int) -> None:
    for name, value in sums_now(state).items():
        if not math.isfinite(value):
            kimg = state.step * images / 1000
            raise DivergedError(f"{name} is not finite at step {state.step} ({kimg} kimg)")
