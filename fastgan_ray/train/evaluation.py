"""What a run measures, draws and saves every so many thousand images."""

from __future__ import annotations

import resource
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from fastgan_ray.config.run_config import ModelConfig, RunConfig
from fastgan_ray.data.fit import KERNEL, fit_to_square
from fastgan_ray.data.grid import save_grid, to_uint8
from fastgan_ray.data.source import Source
from fastgan_ray.metrics.evaluate import evaluate, latents
from fastgan_ray.metrics.extractors import Extractor
from fastgan_ray.metrics.memorisation import Pair
from fastgan_ray.metrics.reference import Reference
from fastgan_ray.models import build_generator, small_resolution
from fastgan_ray.models.kernels import reference_kernels
from fastgan_ray.progress import Track
from fastgan_ray.train import checkpoint
from fastgan_ray.train.batches import pictures_at
from fastgan_ray.train.d_reconstruction import d_reconstruction
from fastgan_ray.train.diagnostics import keeping, watch
from fastgan_ray.train.draws import CENTRE
from fastgan_ray.train.perceptual import Distance
from fastgan_ray.train.reporter import INTERRUPTED, Reporter
from fastgan_ray.train.rng import seeded
from fastgan_ray.train.state import TrainState, recalibrate_ema
from fastgan_ray.train.step import reconstruction_error

GRID_TILES = 36
PAIR_COLUMNS = 8  # four pairs a row
DECODED = 8  # training pictures whose decodings are drawn, two a row
RECONSTRUCTED = 64  # training pictures that D's decoders are tried on

Images = np.ndarray[Any, np.dtype[np.uint8]]
Sample = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Run:
    """What stays the same during a run."""

    config: RunConfig
    device: torch.device
    images: Images
    pictures: str
    """Digest of the pictures it learns from."""
    typical: Tensor
    source: Source
    reference: Reference
    extractor: Extractor
    distance: Distance
    protocol: dict[str, Any]
    gflop_g: float
    track: Track


def evaluate_and_report(
    state: TrainState, run: Run, means: dict[str, float], reporter: Reporter, last: bool
) -> None:
    """Measure, draw and save the state, and report it; `means` are the losses since the last time.

    `last`: the run's last evaluation, which is never a cheap one.
    """
    config = run.config
    images_shown = state.step * config.train.images_per_step
    recalibrate_ema(state, config.model.nz)

    def sample(z_BZ: Tensor) -> Tensor:
        with torch.inference_mode():
            return torch.as_tensor(state.ema(z_BZ.to(run.device))[0])

    kept: list[Tensor] = []
    found = evaluate(
        keeping(sample, kept),
        config.model.nz,
        run.reference,
        run.extractor,
        config.eval,
        run.device,
        early=not last,
        track=run.track,
    )
    pictures = {
        **draw_grid(state, config, reporter.folder / "grids", run.device),
        **draw_pairs(found.pairs, run, sample, reporter.folder / "pairs", images_shown),
    }
    metrics: dict[str, float | int | str] = {
        "kimg": images_shown / 1000,
        "images_shown": images_shown,
        "seconds": round(state.seconds, 3),
        "images_per_second": round(images_shown / state.seconds, 3),
        **found.values,
        **means,
        **pictures,
        **reconstruction(state, run, reporter.folder / "decoded", last),
        **state.regan.report(torch.zeros(1, config.model.nz, device=run.device)),
        **watch(run.typical, kept, config.augment, float(state.ada.p), found.values),
        "params_g": _parameters(state.generator),
        "params_d": _parameters(state.discriminator),
        "gflop_g": run.gflop_g,
        "peak_memory_gb": round(peak_memory_gb(run.device), 3),
    }
    info = {
        "kimg": images_shown / 1000,
        "metrics": metrics,
        "protocol": run.protocol,
        "pictures": run.pictures,
    }
    folder = reporter.folder / f"checkpoint-{images_shown:09d}"
    checkpoint.save(folder, state, config, info)
    reporter.report(metrics, folder)
    for older in (*reporter.folder.glob("checkpoint-*"), reporter.folder / INTERRUPTED):
        if older != folder:
            shutil.rmtree(older, ignore_errors=True)


def draw_grid(
    state: TrainState, config: RunConfig, folder: Path, device: torch.device
) -> dict[str, float | str]:
    """A grid of samples of fixed latents, and how far they have moved since the grid before.

    `drift` is the mean squared difference of the generator's small pictures in [-1, 1], rounded
    as a file would hold them (Saxena et al. 2023 follow a training by it).
    """
    fixed = torch.randn(GRID_TILES, config.model.nz, generator=seeded(0, "grid"))
    with torch.inference_mode():
        parts = [state.ema(z.to(device)) for z in torch.split(fixed, config.eval.batch_size)]
        full, small = (torch.cat(pictures) for pictures in zip(*parts, strict=True))
    path = folder / f"{state.step * config.train.images_per_step:09d}.png"
    save_grid(full, path)
    before, state.shown = state.shown, to_uint8(small)
    if before is None:
        return {"grid": str(path)}
    drift = ((state.shown.double() - before.double()) / 127.5).square().mean()
    return {"grid": str(path), "drift": float(drift)}


def draw_pairs(
    pairs: list[Pair], run: Run, sample: Sample, folder: Path, images_shown: int
) -> dict[str, str]:
    """A grid of the generated pictures most like a training picture, each beside that one."""
    if not pairs:
        return {}
    config = run.config
    chosen = latents(config.eval, config.model.nz)[[pair.fake for pair in pairs]]
    fakes = torch.cat([sample(z) for z in torch.split(chosen, config.eval.batch_size)]).cpu()
    reals = torch.stack([_real(run, pair.training) for pair in pairs])
    path = folder / f"{images_shown:09d}.png"
    save_grid(torch.stack([fakes, reals], dim=1).flatten(0, 1), path, PAIR_COLUMNS)
    return {"pairs": str(path)}


def _real(run: Run, index: int) -> Tensor:
    """Reference picture `index` at the run's resolution, (3, R, R) in [-1, 1]."""
    data, side = run.config.data, run.config.model.resolution
    picture = fit_to_square(run.source.read(index, data.background), data.fit, data.background)
    pixels = np.array(picture.resize((side, side), KERNEL))
    return torch.from_numpy(pixels).permute(2, 0, 1) / 127.5 - 1


def reconstruction(state: TrainState, run: Run, folder: Path, last: bool) -> dict[str, float | str]:
    """How much of a picture D still sees (Liu et al. 2021, table 7), in the run's own distance.

    `reconstruction`: of D's decoders, averaged, from training pictures without augmentation, and
    `decoded`, a grid of some beside them; `d_reconstruction`, at the end and if asked for: of a
    decoder trained on the frozen D.
    """
    found = _decode(state, run, folder)
    if last and run.config.eval.probe_steps > 0:
        found["d_reconstruction"] = d_reconstruction(
            state.discriminator,
            run.images,
            run.distance,
            run.config.model.decoder_width,
            run.config.eval.probe_steps,
            run.device,
        )
    return found


@torch.no_grad()
def _decode(state: TrainState, run: Run, folder: Path) -> dict[str, float | str]:
    side, errors, counts = small_resolution(run.config.model.resolution), [], []
    rows: list[Tensor] = []
    state.discriminator.eval()
    indices = torch.arange(min(len(run.images), RECONSTRUCTED))
    for chosen in torch.split(indices, run.config.train.batch_size):
        full = pictures_at(run.images, chosen, run.device)
        _, decoded = state.discriminator(full, F.interpolate(full, size=side), CENTRE)
        if decoded:
            error = reconstruction_error(full, decoded, CENTRE, run.distance)
            errors.append(float(error) / len(decoded))
            counts.append(len(chosen))
            if (missing := DECODED - sum(map(len, rows))) > 0:
                rows.append(beside(full, decoded)[:missing])
    state.discriminator.train()
    if not rows:
        return {}
    drawn = torch.cat(rows)
    path = folder / f"{state.step * run.config.train.images_per_step:09d}.png"
    save_grid(drawn.flatten(0, 1), path, columns=2 * drawn.shape[1])
    return {"reconstruction": float(np.average(errors, weights=counts)), "decoded": str(path)}


def beside(full: Tensor, decoded: dict[str, Tensor]) -> Tensor:
    """Each of some pictures (B, 3, R, R) at its decodings' size s, then these: (B, 1 + D, 3, s, s).

    The part that "part" decodes is the middle.
    """
    pictures = [picture.float() for picture in decoded.values()]
    small = F.interpolate(full, size=pictures[0].shape[-2:], mode="bilinear", antialias=True)
    return torch.stack([small, *pictures], dim=1).cpu()


def sampling_gflop(model: ModelConfig) -> float:
    """10**9 multiplications and additions to generate one picture, in the published form."""
    network = build_generator(model).eval().to("meta")
    with torch.no_grad(), reference_kernels(), FlopCounterMode(display=False) as counter:
        network(torch.empty(1, model.nz, device="meta"))
    return float(counter.get_total_flops()) / 1e9


def peak_memory_gb(device: torch.device) -> float:
    """Most memory in use since the start, in 10**9 bytes: of the GPU, or of the whole process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    status = Path("/proc/self/status")
    for line in status.read_text().splitlines() if status.is_file() else ():
        if line.startswith("VmHWM:"):  # of this program alone: getrusage counts who started it, too
            return int(line.split()[1]) * 1024 / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def _parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
