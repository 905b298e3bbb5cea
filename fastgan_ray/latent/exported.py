"""A generator alone, as a folder: generator.safetensors and what builds it, generator.json."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from fastgan_ray.config.run_config import ModelConfig
from fastgan_ray.errors import UserError
from fastgan_ray.models import build_generator

FORMAT = "fastgan-ray-generator-1"
DESCRIPTION = "generator.json"
_WEIGHTS = "generator.safetensors"


def folded(generator: nn.Module, config: ModelConfig) -> tuple[nn.Module, ModelConfig]:
    """The same function with plain weights: spectral normalisation is multiplied into them.

    A generator of its own, in eval mode, frozen, on the CPU; and the configuration that builds it.
    """
    plain_config = config.model_copy(update={"spectral_norm": False})
    plain = build_generator(plain_config)
    weights = {}
    for key in plain.state_dict():
        owner, _, name = key.rpartition(".")
        weights[key] = getattr(generator.get_submodule(owner), name).detach().cpu()
    plain.load_state_dict(weights)
    return plain.requires_grad_(False).eval(), plain_config


def write_folder(generator: nn.Module, config: ModelConfig, folder: Path) -> None:
    """Write a folded generator and its configuration into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {key: value.contiguous() for key, value in generator.state_dict().items()}
    save_file(weights, folder / _WEIGHTS)
    description = {"format": FORMAT, "model": config.model_dump()}
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=1))


def read_folder(folder: Path) -> tuple[nn.Module, ModelConfig]:
    """The generator of a folder (eval mode, frozen, CPU) and its configuration.

    UserError where the folder is damaged or of another format.
    """
    path = folder / DESCRIPTION
    try:
        description = json.loads(path.read_text())
        if (found := description["format"]) != FORMAT:
            raise UserError(f"{path}: format must be {FORMAT} (got {found!r})")
        config = ModelConfig.model_validate(description["model"])
        generator = build_generator(config)
        generator.load_state_dict(load_file(folder / _WEIGHTS))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: damaged ({error}); export it again") from error
    except (SafetensorError, RuntimeError) as error:  # the latter of weights that do not fit
        raise UserError(f"{folder / _WEIGHTS}: damaged ({error}); export it again") from error
    return generator.requires_grad_(False).eval(), config
