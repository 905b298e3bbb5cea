"""Export a generator to other formats (FORMATS), and check that the export draws the same."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fastgan_ray.errors import UserError
from fastgan_ray.latent.load import d_features_of, load_model
from fastgan_ray.latent.model_card import training_record, write_model_card
from fastgan_ray.latent.sample import latents
from fastgan_ray.models import Discriminator, Generator
from fastgan_ray.models.exported_folder import (
    FOLDER,
    HUB,
    Layout,
    layout_of,
    read_folder,
    without_spectral_norm,
    write_folder,
)
from fastgan_ray.models.published_checkpoint import load_published, save_published
from fastgan_ray.train.checkpoint import load_discriminator
from fastgan_ray.train.find_checkpoint import Which, locate
from fastgan_ray.train.threads import cpu_threads

TOLERANCE = 1e-3  # for pixels in [-1, 1]; half the step between 8-bit values is 0.004
ONNX_PACKAGES = ("onnx", "onnxruntime", "onnxscript")  # installed by the extra `export`
SEEDS = (0, 1, 2)  # seeds of the compared pictures

Draw = Callable[[Tensor], Tensor]


class Format(NamedTuple):
    """The three functions of a file format: `require`, `write` and `read`."""

    require: Callable[[Path], None]
    """Raise UserError if a checkpoint cannot be exported to the format."""
    write: Callable[[Path, Path], None]
    """Write a checkpoint to a new file or folder."""
    read: Callable[[Path], Draw]
    """Read an exported file or folder; return a function from latents (B, nz) to pictures."""


def export(path: Path, name: str, out: Path, which: Which = "best") -> float:
    """Write a generator to `out` in the format `name`, a key of FORMATS.

    `path` is a checkpoint or the folder of a run. For a run, `which` chooses the best or the last
    checkpoint. As a check, the checkpoint and the export both draw the pictures of three seeds.
    Return the largest difference between corresponding pixel values in [-1, 1]. Raise UserError if
    the format does not support this generator, if a package is missing, or if the difference is
    above TOLERANCE.
    """
    checkpoint = locate(path, which)
    FORMATS[name].require(checkpoint)
    generator, config = load_model(checkpoint)
    FORMATS[name].write(checkpoint, out)
    with torch.inference_mode(), cpu_threads(config.resources):
        z_BZ = latents(SEEDS, config.model.nz)
        expected = generator(z_BZ)[0].clamp(-1, 1)
        written = FORMATS[name].read(out)(z_BZ).clamp(-1, 1)
        difference = float((written - expected).abs().max())
    if not difference <= TOLERANCE:
        raise UserError(
            f"{out}: do not use this file, because it draws other pictures than the checkpoint. "
            f"Pixel values (from -1 to 1) may differ by at most {TOLERANCE} (got {difference:.2g})"
        )
    return difference


class _Pictures(nn.Module):
    """A module that maps latents (B, nz) to full-size pictures (B, C, H, W) in [-1, 1]."""

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, latents: Tensor) -> Tensor:
        full: Tensor = self.generator(latents)[0]
        return full.clamp(-1, 1)


def _require_nothing(checkpoint: Path) -> None:
    """Accept every checkpoint, because the format can store any generator."""


def _write_folder(checkpoint: Path, out: Path) -> None:
    generator, config = load_model(checkpoint)
    plain, config = without_spectral_norm(generator, config)
    write_folder(plain, config, out, d_features=d_features_of(checkpoint))


def _reader(layout: Layout) -> Callable[[Path], Draw]:
    return lambda out: _Pictures(read_folder(out, layout)[0])


def _write_hub(checkpoint: Path, out: Path) -> None:
    """Write an exported folder with a model card and samples, for the Hugging Face Hub."""
    generator, config = load_model(checkpoint)
    generator, config = without_spectral_norm(generator, config)
    write_folder(generator, config, out, HUB, d_features_of(checkpoint))
    write_model_card(generator, config, training_record(checkpoint), out)


def _write_pt2(checkpoint: Path, out: Path) -> None:
    torch.export.save(_program(checkpoint), out)


def _read_pt2(out: Path) -> Draw:
    return torch.export.load(out).module()


def _program(checkpoint: Path) -> torch.export.ExportedProgram:
    """Trace a checkpoint's generator as a graph of PyTorch operators, for any batch size."""
    generator, config = load_model(checkpoint)
    pictures = _Pictures(without_spectral_norm(generator, config)[0]).eval()
    batch = {0: torch.export.Dim("batch", min=1, max=2**31 - 1)}  # PyTorch 2.7 needs a maximum
    example = torch.zeros(2, config.model.nz)
    with torch.no_grad():
        shapes = {"latents": batch}
        # PyTorch 2.7 needs strict=False to trace a context variable; later versions default to it.
        return torch.export.export(pictures, (example,), dynamic_shapes=shapes, strict=False)


def _require_onnx(checkpoint: Path) -> None:
    missing = [name for name in ONNX_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"--to onnx: needs packages that are not installed ({', '.join(missing)}). Install "
            "them with: pip install 'fastgan-ray[export]'"
        )


def _write_onnx(checkpoint: Path, out: Path) -> None:
    with _silent():
        program = torch.onnx.export(
            _program(checkpoint),
            input_names=["latents"],
            output_names=["pictures"],
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    program.save(out, external_data=False)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Within this context, hide printed text, warnings and log records up to level WARNING."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _read_onnx(out: Path) -> Draw:
    import onnxruntime

    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    return lambda z_BZ: torch.from_numpy(session.run(None, {"latents": z_BZ.numpy()})[0])


def _require_published_architecture(checkpoint: Path) -> None:
    if checkpoint.is_file():
        raise UserError(f"--to published: {checkpoint} already has the published format")
    if layout_of(checkpoint):
        raise UserError(
            f"--to published: the format needs a discriminator, but {checkpoint} is an exported "
            "folder, which has none; give the checkpoint"
        )
    generator, config = load_model(checkpoint)
    if not isinstance(generator, Generator):
        raise UserError(
            "--to published: model.architecture must be fastgan, because no other architecture "
            f"has a published format (got {config.model.architecture})"
        )
    if config.model.projects:
        raise UserError(
            "--to published: the format cannot store a projected discriminator "
            "(model.discriminator); use --to folder"
        )


def _write_published(checkpoint: Path, out: Path) -> None:
    """Write a .pth file of the published FastGAN; the file's "g" has the averaged (EMA) weights."""
    generator, _ = load_model(checkpoint)
    discriminator = load_discriminator(checkpoint)
    assert isinstance(generator, Generator) and isinstance(discriminator, Discriminator)
    save_published(out, generator, discriminator)


def _read_published(out: Path) -> Draw:
    return _Pictures(load_published(out).generator)


FORMATS = {
    "folder": Format(_require_nothing, _write_folder, _reader(FOLDER)),
    "hub": Format(_require_nothing, _write_hub, _reader(HUB)),
    "onnx": Format(_require_onnx, _write_onnx, _read_onnx),
    "pt2": Format(_require_nothing, _write_pt2, _read_pt2),
    "published": Format(_require_published_architecture, _write_published, _read_published),
}
