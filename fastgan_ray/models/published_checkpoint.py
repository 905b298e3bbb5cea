"""Checkpoints of the published PyTorch FastGAN, in and out.

A file holds {"g", "d"}: state dicts, their keys sometimes prefixed `module.`; the trainer's fuller
file adds "g_ema" (the averaged generator's parameters as a list, no buffers), "opt_g", "opt_d".
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from fastgan_ray.config.run_config import ModelConfig
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

# The published code's last step at each resolution that it knows.
_ACTIVATIONS = {256: "none", 512: "none", 1024: "tanh"}
# Components without which there is no published form.
_NEEDED = ("g_noise", "d_sle", "d_small", "decode_full", "decode_small", "spectral_norm")


class Official(NamedTuple):
    """The networks of a published checkpoint, on the CPU, in eval mode."""

    generator: Generator
    discriminator: Discriminator
    ema: Generator | None


def load_official(path: str | Path) -> Official:
    """Read a published checkpoint; sizes are inferred from its tensors.

    `ema` has the file's averaged parameters with the plain generator's buffers, because the file
    has no others: recalibrate its batch statistics before judging it. No code in the file runs.
    UserError if the file is missing, damaged, or holds anything else.
    """
    path = Path(path)
    contents = _read(path)
    g_weights, d_weights = (_state_dict(contents, network, path) for network in ("g", "d"))
    config = _infer_config(g_weights, d_weights, path)
    rng = torch.Generator()  # of weights that the file's replace
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
    return Official(generator.eval(), discriminator.eval(), ema)


def save_official(
    path: str | Path,
    generator: Generator,
    discriminator: Discriminator,
    ema: Generator | None = None,
) -> None:
    """Write a checkpoint that the published code reads, replacing `path` in one step.

    Of `ema` only the parameters are kept (the published form has no more); optimisers are not
    written. UserError if the networks are not of the published form, or the file can't be written.
    """
    path = Path(path)
    configs = [generator.config, discriminator.config] + ([ema.config] if ema is not None else [])
    for config in configs:
        _refuse_unpublished(config, path)
    if any(config != configs[0] for config in configs):
        raise UserError(f"{path}: all networks must be built from the same model configuration")
    contents: dict[str, Any] = {
        "g": _published(generator, generator_names(generator)),
        "d": _published(discriminator, discriminator_names(discriminator)),
    }
    if ema is not None:
        averaged = _published(ema, generator_names(ema))
        contents["g_ema"] = [averaged[name] for name in parameter_names(ema)]
    _write(path, contents)


def _read(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise UserError(f"{path}: no such file; give a checkpoint (.pth) of the published FastGAN")
    try:
        file = path.open("rb")
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
    with file:
        try:
            contents = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # torch.load raises whatever a damaged byte leads it to
            raise UserError(
                f"{path}: is damaged or no PyTorch checkpoint of plain tensors; fetch it again "
                f"({type(error).__name__})"
            ) from error
    if not isinstance(contents, Mapping) or not {"g", "d"} <= contents.keys():
        found = sorted(map(str, contents)) if isinstance(contents, Mapping) else type(contents)
        raise UserError(
            f'{path}: is no published FastGAN checkpoint: it must hold "g" and "d" (got {found})'
        )
    return contents


def _state_dict(contents: Mapping[str, Any], network: str, path: Path) -> dict[str, Tensor]:
    weights = contents[network]
    if not isinstance(weights, Mapping) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in weights.items()
    ):
        raise UserError(f"{path}: {network} must be a state dict: names with tensors")
    return {name.removeprefix("module."): value for name, value in weights.items()}


def _infer_config(
    g_weights: Mapping[str, Tensor], d_weights: Mapping[str, Tensor], path: Path
) -> ModelConfig:
    nz, stem = _shape(g_weights, "init.init.0.weight_orig", f"{path}: g")[:2]
    deepest = _shape(d_weights, "rf_big.0.weight_orig", f"{path}: d")[0]
    if stem % 32 or deepest % 16:
        raise UserError(
            f"{path}: the generator's stem must have 32 ngf channels and the discriminator's head "
            f"16 ndf (got {stem} and {deepest})"
        )
    present = [side for side in (512, 1024) if f"feat_{side}.1.weight_orig" in g_weights]
    resolution = max(present, default=256)
    try:
        return ModelConfig.model_validate(
            {
                "resolution": resolution,
                "ngf": stem // 32,
                "ndf": deepest // 16,
                "nz": nz,
                "output_activation": _ACTIVATIONS[resolution],
            }
        )
    except ValidationError as error:
        reasons = "; ".join(f"{entry['loc'][0]}: {entry['msg']}" for entry in error.errors())
        raise UserError(f"{path}: its sizes are out of range: {reasons}") from error


def _shape(weights: Mapping[str, Tensor], name: str, where: str) -> tuple[int, ...]:
    if name not in weights:
        raise UserError(f"{where} has no {name}: it is no published FastGAN checkpoint")
    shape = tuple(weights[name].shape)
    if len(shape) != 4:
        raise UserError(f"{where}: {name} must have 4 dimensions (got shape {shape})")
    return shape


def _fill(
    network: nn.Module, names: Mapping[str, str], weights: Mapping[str, Tensor], where: str
) -> None:
    """Copy published weights into ours; UserError unless names and shapes agree exactly."""
    expected = network.state_dict()
    problems = [f"{name} is missing" for name in names if name not in weights]
    problems += [f"{name} is unknown" for name in weights if name not in names]
    problems += [
        f"{name} must be {tuple(expected[ours].shape)} (got {tuple(weights[name].shape)})"
        for name, ours in names.items()
        if name in weights and weights[name].shape != expected[ours].shape
    ]
    if problems:
        more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise UserError(f"{where} is not of the published form: {'; '.join(problems[:5])}{more}")
    network.load_state_dict({ours: weights[name] for name, ours in names.items()})


def _averaged_weights(generator: Generator, averaged: object, path: Path) -> dict[str, Tensor]:
    names = parameter_names(generator)
    if not isinstance(averaged, list | tuple) or not all(isinstance(w, Tensor) for w in averaged):
        raise UserError(f"{path}: g_ema must be a list of tensors (got {type(averaged).__name__})")
    if len(averaged) != len(names):
        raise UserError(
            f"{path}: g_ema must list the generator's {len(names)} parameters (got {len(averaged)})"
        )
    return dict(zip(names, averaged, strict=True))


def _published(network: nn.Module, names: Mapping[str, str]) -> dict[str, Tensor]:
    state = network.state_dict()
    return {name: state[ours].detach().cpu().contiguous() for name, ours in names.items()}


def _refuse_unpublished(config: ModelConfig, path: Path) -> None:
    if config.resolution not in _ACTIVATIONS:
        raise UserError(
            f"{path}: in the published form model.resolution must be one of {list(_ACTIVATIONS)} "
            f"(got {config.resolution})"
        )
    published = ModelConfig.model_validate(
        {
            **{name: getattr(config, name) for name in ("resolution", "ngf", "ndf", "nz")},
            "output_activation": _ACTIVATIONS[config.resolution],
        }
    )
    wrong = [name for name in _NEEDED if not getattr(config, name)]
    if config.decode_part == "none":
        wrong.append("decode_part")
    if config.self_supervision != "ae":
        wrong.append("self_supervision")
    if config.output_activation != published.output_activation:
        wrong.append("output_activation")
    if skip_sources(config) != skip_sources(published):
        wrong.append("g_sle_4/8/16/32")
    if generator_channels(config) != generator_channels(published):
        wrong.append("g_channels")
    if discriminator_channels(config) != discriminator_channels(published):
        wrong.append("d_channels")
    if config.decoder_width != published.decoder_width:
        wrong.append("decoder_width")
    if wrong:
        raise UserError(
            f"{path}: the published form cannot express this setting of {', '.join(wrong)}; it has "
            "every component on, widths by ngf and ndf, decoder_width 32, and at "
            f"{config.resolution} px output_activation {published.output_activation}"
        )


def _write(path: Path, contents: dict[str, Any]) -> None:
    try:
        with atomic(path) as draft, draft.open("wb") as file:
            torch.save(contents, file)
    except (OSError, RuntimeError) as error:  # torch's zip writer turns a full disk into the latter
        raise UserError(f"{path}: cannot be written: {error}") from error
