"""Write and read exported folders, which have a generator's weights and settings in two files.

The weights are in the format safetensors, and the settings are JSON. There are two layouts, which
differ only in the names of the two files. FOLDER is the layout of this project, and HUB is the
layout that the Hugging Face Hub expects.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from fastgan_ray.config.feature_networks import with_own_features
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.errors import UserError
from fastgan_ray.models import build_generator

FORMAT = "fastgan-ray-generator-1"


class Layout(NamedTuple):
    """The names of the two files of an exported folder."""

    description: str  # the file with the settings
    weights: str


FOLDER = Layout("generator.json", "generator.safetensors")
HUB = Layout("config.json", "model.safetensors")


def without_spectral_norm(generator: nn.Module, config: RunConfig) -> tuple[nn.Module, RunConfig]:
    """Return a copy of the generator without spectral normalisation, and the copy's configuration.

    The weights of the copy are the normalised weights of `generator`, so both generate the same
    pictures. The copy is in eval mode, without gradients, and on the CPU.
    """
    model = config.model.model_copy(update={"spectral_norm": False})
    plain = build_generator(model, picture_channels=config.data.channels)
    weights = {}
    for key in plain.state_dict():
        owner, _, name = key.rpartition(".")
        weights[key] = getattr(generator.get_submodule(owner), name).detach().cpu()
    plain.load_state_dict(weights)
    return plain.requires_grad_(False).eval(), config.model_copy(update={"model": model})


def layout_of(folder: Path) -> Layout | None:
    """Return the layout of an exported folder; None if `folder` is not an exported folder."""
    layouts = (layout for layout in (FOLDER, HUB) if (folder / layout.description).is_file())
    return next(layouts, None)


def write_folder(
    generator: nn.Module,
    config: RunConfig,
    folder: Path,
    layout: Layout = FOLDER,
    d_features: Sequence[str] = (),
) -> None:
    """Write the weights and the settings of a generator to a folder.

    `generator` must have no spectral normalisation (see `without_spectral_norm`). The settings are
    the section `model`, `data.mode` and `d_features`. The generator may have been trained against
    several discriminators. `d_features` names their pretrained networks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = {key: value.contiguous() for key, value in generator.state_dict().items()}
    # The Hub shows the number of parameters only if the file says that it is from PyTorch.
    save_file(weights, folder / layout.weights, metadata={"format": "pt"})
    description = {
        "format": FORMAT,
        "model": config.model.model_dump(),
        "mode": config.data.mode,
        "d_features": list(d_features),
    }
    (folder / layout.description).write_text(json.dumps(description, indent=1))


def read_d_features(folder: Path, layout: Layout) -> tuple[str, ...]:
    """Read the names of the pretrained networks against which an exported generator was trained.

    These are the names that `write_folder` got. If the exported settings have a projected
    discriminator, its `model.d_features` is added. The folder must not be damaged.
    """
    description = json.loads((folder / layout.description).read_text())
    model = RunConfig.model_validate({"model": description["model"]}).model  # reads old names, too
    return with_own_features(description.get("d_features", ()), model)


def read_folder(folder: Path, layout: Layout) -> tuple[nn.Module, RunConfig]:
    """Read a generator and its configuration from an exported folder.

    The generator is in eval mode, without gradients, and on the CPU. Settings that are not in the
    folder have their defaults. Raises UserError if the folder is damaged or has another format.
    """
    path = folder / layout.description
    try:
        description = json.loads(path.read_text())
        if (name := description["format"]) != FORMAT:
            raise UserError(f"{path}: format must be {FORMAT} (got {name!r})")
        mode = description.get("mode", "rgb")  # folders of earlier versions have only rgb pictures
        config = RunConfig.model_validate({"model": description["model"], "data": {"mode": mode}})
        generator = build_generator(config.model, picture_channels=config.data.channels)
        generator.load_state_dict(load_file(folder / layout.weights))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({error}); export the generator again") from error
    except (SafetensorError, RuntimeError) as error:  # RuntimeError: wrong names or shapes
        raise UserError(
            f"{folder / layout.weights} is damaged ({error}); export the generator again"
        ) from error
    return generator.requires_grad_(False).eval(), config
