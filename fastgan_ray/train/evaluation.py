"""Evaluate a run: metrics, grids, checkpoint, report; measure the best checkpoint again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fastgan_ray.arithmetic import ieee_float32
from fastgan_ray.config.evaluation import EvalConfig
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.data.source import Source
from fastgan_ray.metrics.evaluate import Evaluation, evaluate, latents, with_other_latents
from fastgan_ray.metrics.extractors import Extractor
from fastgan_ray.metrics.names import best_name, early_name, run_metric
from fastgan_ray.metrics.reference import Reference
from fastgan_ray.models import build_discriminator
from fastgan_ray.progress import Track
from fastgan_ray.train import best, checkpoint
from fastgan_ray.train.costs import count_parameters, peak_memory_gb
from fastgan_ray.train.d_reconstruction import d_reconstruction
from fastgan_ray.train.diagnostics import SAMPLE_COUNT, collect_samples, diagnose
from fastgan_ray.train.grids import Images, draw_decoded, draw_pairs, draw_samples
from fastgan_ray.train.perceptual import Distance
from fastgan_ray.train.reporter import INTERRUPTED, Reporter
from fastgan_ray.train.rng import seeded
from fastgan_ray.train.state import TrainState, recalibrate_ema

Values = dict[str, float | int | str]


@dataclass(frozen=True)
class Run:
    """The objects that a run loads at its start; they do not change during the training."""

    config: RunConfig
    device: torch.device
    images: Images
    pictures: str
    """Hash of the training pictures."""
    real_sample: Tensor
    """Some downscaled training pictures; `diagnostics` compares generated pictures with them."""
    source: Source
    """All pictures from which `data.limit` chooses; `draw_pairs` reads training pictures here."""
    measure_with: tuple[Reference, Extractor] | None
    """The features of the real pictures and the feature network; None if nothing is measured."""
    distance: Distance
    """The distance between pictures and their reconstructions."""
    protocol: dict[str, Any]
    """How metrics are measured. Only metrics of the same protocol can be compared."""
    gflop_g: float
    """The generator's operations for one picture, in 10**9 multiplications and additions."""
    track: Track
    """Shows the progress of evaluations."""


def evaluate_and_report(
    state: TrainState, run: Run, mean_losses: dict[str, float], reporter: Reporter, last: bool
) -> None:
    """Evaluate G: measure metrics, draw grids of pictures, save a checkpoint, and report.

    `mean_losses` are the mean losses since the last evaluation, by name. `last` is True in the last
    evaluation of a run, which is always a full one. If `eval.early_fakes` is set, all other
    evaluations are cheap: they use fewer generated pictures.
    """
    with ieee_float32():  # also for the average's batch statistics, which every metric depends on
        _evaluate_and_report(state, run, mean_losses, reporter, last)


def _evaluate_and_report(
    state: TrainState, run: Run, mean_losses: dict[str, float], reporter: Reporter, last: bool
) -> None:
    images_shown = state.step * run.config.train.images_per_step
    recalibrate_ema(state, run.config.model.nz)
    samples: list[Tensor] = []
    sample = collect_samples(_sampler(state.ema, run), samples)
    evaluation = _measure(sample, run, run.config.eval, early=not last)
    metrics: Values = {
        "kimg": images_shown / 1000,
        "images_shown": images_shown,
        "seconds": round(state.seconds, 3),
        "images_per_second": round(images_shown / state.seconds, 3),
        **evaluation.values,
        **mean_losses,
        **_draw(state, run, evaluation, samples, reporter.folder, last),
        "params_g": count_parameters(state.generator),
        "params_d": count_parameters(state.discriminator),
        "gflop_g": run.gflop_g,
        "peak_memory_gb": round(peak_memory_gb(run.device), 3),
    }
    metadata = {
        "kimg": images_shown / 1000,
        "metrics": metrics,
        "protocol": run.protocol,
        "pictures": run.pictures,
    }
    folder = reporter.folder / f"checkpoint-{images_shown:09d}"
    selection = _selection(state, run, metrics, last)
    checkpoint.save(folder, state, run.config, {**metadata, **selection})
    if selection:
        best.keep_best(folder, run.config.train.keep_best, run_metric(run.config.eval)[1])
    if last:
        metrics |= _measure_best(state, run, evaluation, reporter.folder)
    reporter.report(metrics, folder)
    for older in (*reporter.folder.glob(best.NUMBERED), reporter.folder / INTERRUPTED):
        if older != folder:
            shutil.rmtree(older, ignore_errors=True)


def _selection(state: TrainState, run: Run, metrics: Values, last: bool) -> dict[str, Any]:
    """Return the metric that ranks the new checkpoint, as an entry for its metadata.json.

    The entry is {"selection": {"metric": name, "value": number}}. Return {} if `train.keep_best` is
    0 or the metric has no value. `metrics` are the results of the checkpoint's evaluation.

    If `eval.early_fakes` is set, all checkpoints are ranked by the metric of a cheap evaluation.
    But the last evaluation of a run is a full one. So if `last` is True, this function makes a
    cheap evaluation, too.
    """
    if run.config.train.keep_best == 0 or run.measure_with is None:
        return {}
    name, values = run_metric(run.config.eval)[0], metrics
    if run.config.eval.early_fakes is not None:
        name = early_name(name)
        if last:
            values = {**_measure(_sampler(state.ema, run), run, run.config.eval, early=True).values}
    return {"selection": {"metric": name, "value": values[name]}} if name in values else {}


def _measure_best(state: TrainState, run: Run, last: Evaluation, folder: Path) -> Values:
    """Measure the best checkpoint again, on latents that were not used to choose this checkpoint.

    `folder` is the run's folder. If it has no best checkpoint, return {}. The measured metrics are
    stored in the metadata.json of the best checkpoint, and returned with the prefix "best/".
    "best/kimg" is the position of the checkpoint. "best/selected" is the value by which the
    checkpoint was chosen. This value is too good, because it is the best of many noisy values.

    Cheap evaluations and full evaluations use different latents. So a checkpoint that cheap
    evaluations chose is measured in a full evaluation. If this checkpoint is also the run's last
    one, its full evaluation is already in `last`, and nothing is measured again.
    """
    checkpoints = best.best_checkpoints(folder)
    if run.config.train.keep_best == 0 or not checkpoints:
        return {}
    metadata = checkpoint.read_metadata(checkpoints[0])
    is_last, cheap = metadata["step"] == state.step, run.config.eval.early_fakes is not None
    if is_last and cheap:
        measured = last.values
    else:
        generator = state.ema if is_last else checkpoint.load_generator(checkpoints[0])[0]
        config = run.config.eval if cheap else with_other_latents(run.config.eval)
        sample = _sampler(generator.to(run.device), run)
        measured = _measure(sample, run, config, early=False).values
    best.add_metadata(checkpoints[0], {"measured_again": measured})
    return {
        best_name("kimg"): metadata["kimg"],
        best_name("selected"): metadata["selection"]["value"],
        **{best_name(name): value for name, value in measured.items()},
    }


def _sampler(generator: nn.Module, run: Run) -> Callable[[Tensor], Tensor]:
    """Return a function that maps latents (B, nz) to a generator's pictures (B, C, H, W)."""

    def sample(z_BZ: Tensor) -> Tensor:
        with torch.inference_mode():
            return torch.as_tensor(generator(z_BZ.to(run.device))[0])

    return sample


def _measure(
    sample: Callable[[Tensor], Tensor], run: Run, config: EvalConfig, early: bool
) -> Evaluation:
    """Measure the metrics of the pictures that `sample` generates from latents (B, nz).

    If `early` is True and `eval.early_fakes` is set, this is a cheap evaluation with fewer
    pictures. Without a feature network, nothing is measured, and SAMPLE_COUNT pictures are
    generated.
    """
    nz = run.config.model.nz
    if run.measure_with is None:
        for z_BZ in torch.split(latents(config, nz)[:SAMPLE_COUNT], config.batch_size):
            sample(z_BZ)
        return Evaluation({}, [], torch.empty(0, run.config.model.nz))
    reference, extractor = run.measure_with
    return evaluate(sample, nz, reference, extractor, config, run.device, early, run.track)


def _draw(
    state: TrainState,
    run: Run,
    evaluation: Evaluation,
    samples: list[Tensor],
    folder: Path,
    last: bool,
) -> Values:
    """Draw the grids of an evaluation; return their paths and further values, by name.

    The further values are the drift, reconstruction errors, the sparsity of Re-GAN, symptoms of
    leaked augmentations, and warnings. `samples` are batches (B, C, H, W) of downscaled pictures
    that the evaluation generated. `last` is True in the last evaluation of a run.
    """
    config, sample = run.config, _sampler(state.ema, run)
    images = state.step * config.train.images_per_step
    file, augment = f"{images:09d}.png", config.augment.strongest_until(images / 1000)
    return {
        **draw_samples(state, config, folder / "grids" / file, run.device),
        **draw_pairs(
            evaluation.pairs,
            evaluation.pair_latents,
            run.source,
            config,
            sample,
            folder / "pairs" / file,
        ),
        **_reconstruction(state, run, folder / "decoded" / file, last),
        **state.regan.report(torch.zeros(1, config.model.nz, device=run.device), run.gflop_g),
        **diagnose(run.real_sample, samples, augment, float(state.ada.p), evaluation.values),
    }


def _reconstruction(state: TrainState, run: Run, path: Path, last: bool) -> dict[str, float | str]:
    """Measure how well pictures can be reconstructed from D's features (Liu et al. 2021, table 7).

    In the result, three values are mean distances (`run.distance`) between pictures and their
    reconstructions. "reconstruction" uses D's decoders. "d_reconstruction" uses a new decoder,
    trained on the features of the frozen D. "d_reconstruction_untrained" is the same for a D with
    random weights. The last two are measured only if `eval.probe_steps` > 0 and `last` (the last
    evaluation) is True. "decoded" is the path of a grid of the outputs of D's decoders.
    """
    config = run.config
    values = draw_decoded(state, run.images, run.distance, config, path, run.device)
    if last and config.eval.probe_steps > 0:
        rng = seeded(config.train.seed, "untrained")
        untrained = build_discriminator(config.model, rng, config.data.channels).to(run.device)
        probed = {"": state.discriminator, "_untrained": untrained}
        for suffix, discriminator in probed.items():
            values[f"d_reconstruction{suffix}"] = d_reconstruction(
                discriminator,
                run.images,
                run.distance,
                config.model.decoder_width,
                config.eval.probe_steps,
                run.device,
            )
    return values
