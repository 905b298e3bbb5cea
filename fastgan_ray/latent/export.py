"""A generator in the formats of others."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fastgan_ray.errors import UserError
from fastgan_ray.latent.exported import folded, read_folder, write_folder
from fastgan_ray.latent.load import find_checkpoint, load_model
from fastgan_ray.latent.sample import latents
from fastgan_ray.models import Discriminator, Generator
from fastgan_ray.models.published_checkpoint import load_published, save_published
from fastgan_ray.train.checkpoint import load_discriminator

# Of pictures in [-1, 1]: half of one of 256 levels is .004.
TOLERANCE = 1e-3
ONNX_PACKAGES = ("onnx", "onnxruntime", "onnxscript")  # of the extra `export`
_SEEDS = (0, 1, 2)

Draw = Callable[[Tensor], Tensor]


class Form(NamedTuple):
    """A format: what it needs, how a checkpoint is written to it, and read back to be compared."""

    require: Callable[[Path], None]
    """Of the checkpoint: UserError where it cannot be exported so."""
    write: Callable[[Path, Path], None]
    """From a checkpoint to a new file or folder."""
    read: Callable[[Path], Draw]
    """What was written, as a function from latents (B, nz) to pictures (B, 3, R, R)."""


def export(checkpoint: Path, form: str, out: Path) -> float:
    """Write a checkpoint's generator to `out` in `form`, a key of FORMS.

    Returns the largest difference between a pixel of the generator and of what was written, read
    back (in [-1, 1], three seeds). UserError where the form cannot hold this generator, a package
    is missing, or they differ by more than rounding.
    """
    FORMS[form].require(checkpoint)
    generator, config, _ = load_model(checkpoint)
    FORMS[form].write(checkpoint, out)
    z_BZ = latents(_SEEDS, config.nz)
    with torch.inference_mode():
        expected = generator(z_BZ)[0].clamp(-1, 1)
        written = FORMS[form].read(out)(z_BZ).clamp(-1, 1)
        difference = float((written - expected).abs().max())
    if not difference <= TOLERANCE:
        raise UserError(
            f"{out}: what was written draws other pictures than the checkpoint: they must agree to "
            f"{TOLERANCE} (got a difference of {difference:.2g}); do not use it"
        )
    return difference


class _Pictures(nn.Module):
    """Latents (B, nz) to full-size pictures (B, 3, R, R) in [-1, 1], and nothing else."""

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, latents: Tensor) -> Tensor:
        full: Tensor = self.generator(latents)[0]
        return full.clamp(-1, 1)


def _nothing(checkpoint: Path) -> None:
    """Any generator can be exported so."""


def _write_folder(checkpoint: Path, out: Path) -> None:
    generator, config, _ = load_model(checkpoint)
    write_folder(*folded(generator, config), out)


def _read_folder(out: Path) -> Draw:
    generator, _ = read_folder(out)
    return _Pictures(generator)


def _write_pt2(checkpoint: Path, out: Path) -> None:
    torch.export.save(_program(checkpoint), out)


def _read_pt2(out: Path) -> Draw:
    return torch.export.load(out).module()


def _program(checkpoint: Path) -> torch.export.ExportedProgram:
    """The generator as a graph of torch's operators, for any number of latents."""
    generator, config, _ = load_model(checkpoint)
    pictures = _Pictures(folded(generator, config)[0]).eval()
    batch = {0: torch.export.Dim("batch", min=1, max=2**31 - 1)}  # PyTorch 2.7 needs a maximum
    example = torch.zeros(2, config.nz)
    with torch.no_grad():
        shapes = {"latents": batch}
        # Not strict, as later PyTorch has it by default: 2.7 would not follow a context variable.
        return torch.export.export(pictures, (example,), dynamic_shapes=shapes, strict=False)


def _need_onnx(checkpoint: Path) -> None:
    missing = [name for name in ONNX_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"--to onnx needs packages that are not installed ({', '.join(missing)}): "
            "pip install 'fastgan-ray[export]'"
        )


def _write_onnx(checkpoint: Path, out: Path) -> None:
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # of the exporter's own parts
        program = torch.onnx.export(
            _program(checkpoint),
            input_names=["latents"],
            output_names=["pictures"],
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    program.save(out, external_data=False)


def _read_onnx(out: Path) -> Draw:
    import onnxruntime

    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    return lambda z_BZ: torch.from_numpy(session.run(None, {"latents": z_BZ.numpy()})[0])


def _need_discriminator(checkpoint: Path) -> None:
    if checkpoint.is_file():
        raise UserError(f"--to official: {checkpoint} is in the published form already")
    generator, _, _ = load_model(find_checkpoint(checkpoint))
    if not isinstance(generator, Generator):
        raise UserError(
            "--to official: only model.architecture fastgan has a published form (this is dcgan)"
        )


def _write_official(checkpoint: Path, out: Path) -> None:
    """As the published trainer leaves its averages: in place of the generator's own weights."""
    folder = find_checkpoint(checkpoint)
    generator, _, _ = load_model(folder)
    discriminator = load_discriminator(folder)
    assert isinstance(generator, Generator) and isinstance(discriminator, Discriminator)
    save_published(out, generator, discriminator)


def _read_official(out: Path) -> Draw:
    return _Pictures(load_published(out).generator)


FORMS = {
    "folder": Form(_nothing, _write_folder, _read_folder),
    "onnx": Form(_need_onnx, _write_onnx, _read_onnx),
    "pt2": Form(_nothing, _write_pt2, _read_pt2),
    "official": Form(_need_discriminator, _write_official, _read_official),
}
