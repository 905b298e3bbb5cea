"""Read and write checkpoints in the format of the published FastGAN code (PyTorch).

A file is a dict with the state dicts of the generator ("g") and of the discriminator ("d"). The
keys in the state dicts may start with `module.`. The larger files of the published code also have
"g_ema" (a list of the averaged generator's parameters, without buffers), and "opt_g" and "opt_d"
(the optimisers).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from fastgan_ray.config.model import ModelConfig
from fastgan_ray.config.rules import explain
from fastgan_ray.errors import UserError
from fastgan_ray.files import atomic
from fastgan_ray.models.discriminator import (
    Discriminator,
    discriminator_channels,
    fastgan_discriminator,
)
from fastgan_ray.models.generator import (
    Generator,
    fastgan_generator,
    generator_channels,
    skip_sources,
)
from fastgan_ray.models.published_names import (
    discriminator_names,
    generator_names,
    parameter_names,
)

# The output activation of the published code, by resolution.
_ACTIVATIONS: dict[int, Literal["tanh", "none"]] = {256: "none", 512: "none", 1024: "tanh"}
# Settings that are fixed in the published form.
_FIXED = (
    "aspect",
    "discriminator",
    "g_blocks",
    "g_noise",
    "g_wavelet_skips",
    "d_high_frequency",
    "d_mixdl",
    "d_sle",
    "d_small",
    "d_norm",
    "d_slope",
    "decode_full",
    "decode_small",
    "spectral_norm",
    "self_supervision",
    "output_activation",
    "decoder_width",
)


class PublishedNetworks(NamedTuple):
    """The networks of a published checkpoint, on the CPU, in eval mode.

    `ema` is the averaged generator; it is None if the file does not contain it.
    """

    generator: Generator
    discriminator: Discriminator
    ema: Generator | None


def load_published(path: str | Path) -> PublishedNetworks:
    """Read a published checkpoint; infer the networks' sizes from the shapes of its tensors.

    The file has no buffers of the averaged generator, so `ema` gets the buffers of `generator`,
    which are about as good as recalibrated ones (docs/findings.md). Loading runs no code from the
    file. Raises UserError if the file is missing, damaged, or not a published checkpoint.
    """
    path = Path(path)
    contents = _read(path)
    g_weights, d_weights = (_state_dict(contents, network, path) for network in ("g", "d"))
    config = _infer_config(g_weights, d_weights, path)
    rng = torch.Generator()  # draws the initial weights, which the file's weights replace
    generator = fastgan_generator(config, rng)
    discriminator = fastgan_discriminator(config, rng)
    _fill(generator, generator_names(generator), g_weights, f"{path}: g")
    _fill(discriminator, discriminator_names(discriminator), d_weights, f"{path}: d")
    ema = None
    if "g_ema" in contents:
        averaged = _averaged_weights(generator, contents["g_ema"], path)
        ema = fastgan_generator(config, rng)
        _fill(ema, generator_names(ema), {**g_weights, **averaged}, f"{path}: g_ema")
        ema.eval()
    return PublishedNetworks(generator.eval(), discriminator.eval(), ema)


def save_published(
    path: str | Path,
    generator: Generator,
    discriminator: Discriminator,
    ema: Generator | None = None,
) -> None:
    """Write a checkpoint that the published code can read; replace `path` atomically.

    Only the parameters of the averaged generator `ema` are written, as in published files. No
    optimiser is written. Raises UserError if the settings of the networks differ from the published
    FastGAN, or if the file cannot be written.
    """
    path = Path(path)
    for network in (generator, discriminator, ema):
        if network is not None:
            _require_published_form(network.config, network.picture_channels, path)
            if network.config != generator.config:
                raise UserError(f"{path}: all networks must have the same model settings")
    contents: dict[str, Any] = {
        "g": _published_state(generator, generator_names(generator)),
        "d": _published_state(discriminator, discriminator_names(discriminator)),
    }
    if ema is not None:
        averaged = _published_state(ema, generator_names(ema))
        contents["g_ema"] = [averaged[name] for name in parameter_names(ema)]
    _write(path, contents)


def _read(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise UserError(f"{path}: no such file; give a .pth file of the published FastGAN")
    try:
        file = path.open("rb")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
    with file:
        try:
            contents = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # torch.load raises many types of error for damaged files
            raise UserError(
                f"{path}: is damaged or not a PyTorch checkpoint of plain tensors "
                f"({type(error).__name__}); download or copy it again"
            ) from error
    if not isinstance(contents, Mapping) or not {"g", "d"} <= contents.keys():
        keys = sorted(map(str, contents)) if isinstance(contents, Mapping) else type(contents)
        raise UserError(
            f"{path}: is not a published FastGAN checkpoint; it must be a dict with the keys "
            f'"g" and "d" (got {keys})'
        )
    return contents


def _state_dict(contents: Mapping[str, Any], network: str, path: Path) -> dict[str, Tensor]:
    weights = contents[network]
    if not isinstance(weights, Mapping) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in weights.items()
    ):
        raise UserError(f"{path}: the entry {network} must be a state dict of names and tensors")
    return {name.removeprefix("module."): value for name, value in weights.items()}


def _infer_config(
    g_weights: Mapping[str, Tensor], d_weights: Mapping[str, Tensor], path: Path
) -> ModelConfig:
    nz, stem = _shape(g_weights, "init.init.0.weight_orig", f"{path}: g")[:2]
    deepest = _shape(d_weights, "rf_big.0.weight_orig", f"{path}: d")[0]
    if stem % 32 or deepest % 16:
        raise UserError(
            f"{path}: the channels of the generator's stem must be a multiple of 32, and those of "
            f"the discriminator's head a multiple of 16 (got {stem} and {deepest})"
        )
    present = [side for side in (512, 1024) if f"feat_{side}.1.weight_orig" in g_weights]
    resolution = max(present, default=256)
    try:
        return _published_config(resolution, stem // 32, deepest // 16, nz)
    except ValidationError as error:
        reasons = "; ".join(f"{key}: {rule}" for (key, *_), rule in explain(error, ModelConfig))
        raise UserError(
            f"{path}: the sizes of its networks are not supported: {reasons}"
        ) from error


def _published_config(resolution: int, ngf: int, ndf: int, nz: int) -> ModelConfig:
    """Return the settings of the published networks with this resolution and these widths."""
    return ModelConfig(
        resolution=resolution,
        ngf=ngf,
        ndf=ndf,
        nz=nz,
        output_activation=_ACTIVATIONS[resolution],
    )


def _shape(weights: Mapping[str, Tensor], name: str, where: str) -> tuple[int, ...]:
    if name not in weights:
        raise UserError(f"{where} has no tensor {name}: it is not a published FastGAN checkpoint")
    shape = tuple(weights[name].shape)
    if len(shape) != 4:
        raise UserError(f"{where}: {name} must have 4 dimensions (got shape {shape})")
    return shape


def _fill(
    network: nn.Module, names: Mapping[str, str], weights: Mapping[str, Tensor], where: str
) -> None:
    """Copy published weights to a network.

    `names` is {published name: our name}. Raises UserError if a weight is missing, unknown, or has
    the wrong shape.
    """
    expected = network.state_dict()
    problems = [f"{name} is missing" for name in names if name not in weights]
    problems += [f"{name} is unknown" for name in weights if name not in names]
    problems += [
        f"{name} must have shape {tuple(expected[ours].shape)} (got {tuple(weights[name].shape)})"
        for name, ours in names.items()
        if name in weights and weights[name].shape != expected[ours].shape
    ]
    if problems:
        more = f"; and {len(problems) - 5} more errors" if len(problems) > 5 else ""
        raise UserError(
            f"{where} does not fit the published FastGAN: {'; '.join(problems[:5])}{more}"
        )
    network.load_state_dict({ours: weights[name] for name, ours in names.items()})


def _averaged_weights(generator: Generator, averaged: object, path: Path) -> dict[str, Tensor]:
    names = parameter_names(generator)
    if not isinstance(averaged, list | tuple) or not all(isinstance(w, Tensor) for w in averaged):
        raise UserError(f"{path}: g_ema must be a list of tensors (got {type(averaged).__name__})")
    if len(averaged) != len(names):
        raise UserError(
            f"{path}: g_ema must have {len(names)} tensors, one for each parameter of the "
            f"generator (got {len(averaged)})"
        )
    return dict(zip(names, averaged, strict=True))


def _published_state(network: nn.Module, names: Mapping[str, str]) -> dict[str, Tensor]:
    state = network.state_dict()
    return {name: state[ours].detach().cpu().contiguous() for name, ours in names.items()}


def _require_published_form(config: ModelConfig, picture_channels: int, path: Path) -> None:
    if picture_channels != 3:
        raise UserError(
            f"{path}: the published format needs RGB pictures (data.mode rgb), but this model's "
            f"pictures have {picture_channels} channels"
        )
    if config.resolution not in _ACTIVATIONS:
        raise UserError(
            f"{path}: in the published format, model.resolution must be one of "
            f"{list(_ACTIVATIONS)} (got {config.resolution})"
        )
    published = _published_config(config.resolution, config.ngf, config.ndf, config.nz)
    unsupported = [name for name in _FIXED if getattr(config, name) != getattr(published, name)]
    if config.decode_part == "none":
        unsupported.append("decode_part")
    if skip_sources(config) != skip_sources(published):
        unsupported.append("g_sle_4/8/16/32")
    if generator_channels(config) != generator_channels(published):
        unsupported.append("g_channels")
    if discriminator_channels(config) != discriminator_channels(published):
        unsupported.append("d_channels")
    if unsupported:
        raise UserError(
            f"{path}: the published format cannot store this model because of "
            f"{', '.join(unsupported)}. The format needs every component of the published FastGAN, "
            "square pictures, channel widths set by ngf and ndf, decoder_width 32, and "
            f"output_activation {published.output_activation} at {config.resolution} px"
        )


def _write(path: Path, contents: dict[str, Any]) -> None:
    try:
        with atomic(path) as draft, draft.open("wb") as file:
            torch.save(contents, file)
    except (OSError, RuntimeError) as error:  # torch raises RuntimeError on a full disk
        raise UserError(f"{path}: cannot be written ({error})") from error
