"""List the layers of a run's networks, with output shape, parameters and operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from fastgan_ray.config.model import ModelConfig
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.models import build_discriminator, build_generator, small_size
from fastgan_ray.models.kernels import reference_kernels
from fastgan_ray.models.projected import ProjectedDiscriminator


class Layer(NamedTuple):
    """A module that has parameters itself, not only in its submodules."""

    name: str  # dotted, in the network
    kind: str  # the name of the module's class
    output: tuple[int, ...]  # shape of the output for one picture: (C, H, W) or (C,)
    parameters: int
    gflop: float  # 10**9 multiplications and additions for one picture


class NetworkSummary(NamedTuple):
    """The layers of a network, in the order in which they run."""

    network: str
    layers: list[Layer]

    @property
    def parameters(self) -> int:
        """The number of parameters of the network."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def gflop(self) -> float:
        """The operations for one picture, in 10**9 multiplications and additions."""
        return sum(layer.gflop for layer in self.layers)


def summarise_generator(config: RunConfig) -> NetworkSummary:
    """List the layers of the generator, with the operations for one generated picture."""
    network = build_generator(_plain(config), picture_channels=config.data.channels)
    network.eval().to("meta")
    latent = torch.empty(1, config.model.nz, device="meta")
    return NetworkSummary("generator", _layers(network, lambda: network(latent)))


def summarise_discriminator(config: RunConfig) -> NetworkSummary:
    """List the layers of the discriminator, with the operations for one real picture.

    The frozen layers of a projected discriminator are one entry without parameters. The operations
    include every decoder and the heads of extra tasks. Some extra tasks send more pictures through
    the trunk; these operations are not counted.
    """
    network = build_discriminator(_plain(config), picture_channels=config.data.channels)
    network.eval().to("meta")
    full, small = (
        torch.empty(1, config.data.channels, *size, device="meta")
        for size in (config.model.size, small_size(config.model))
    )
    with torch.no_grad():
        features = network.trunk(full)

    def judge_picture() -> None:
        network(full, small, part=0)
        heads = network.projection, network.predictor, network.mixdl_projection
        for head in [*filter(None, heads), *network.instance_heads.values()]:
            head(features)

    layers = _layers(network, judge_picture)
    if isinstance(network, ProjectedDiscriminator):
        layers.insert(0, _frozen(network, full))
    return NetworkSummary("discriminator", layers)


def _frozen(network: ProjectedDiscriminator, full: Tensor) -> Layer:
    """Describe all frozen layers as one entry; its output is the largest of the four feature maps.

    `full` is one picture (1, C, H, W).
    """
    with torch.no_grad(), reference_kernels(), FlopCounterMode(display=False) as counter:
        maps = network.mixed_features(full)
    gflop = counter.get_total_flops() / 1e9
    shape = tuple(maps[0].shape[1:])
    return Layer("features", f"{network.config.d_features}, frozen", shape, 0, gflop)


def _plain(config: RunConfig) -> ModelConfig:
    """Return the settings of the networks, but without spectral normalisation.

    Spectral normalisation has no trained parameters, and its initialisation takes seconds.
    """
    return config.model.model_copy(update={"spectral_norm": False})


def _layers(network: nn.Module, use: Callable[[], object]) -> list[Layer]:
    """List the layers of a network on the device "meta", in the order in which they run.

    `use` is a function that runs the network once.
    """
    parameters = _parameters_by_layer(network)
    outputs: dict[str, tuple[int, ...]] = {}

    def note_output(name: str) -> Callable[[nn.Module, object, Tensor], None]:
        def hook(module: nn.Module, arguments: object, output: Tensor) -> None:
            outputs[name] = tuple(output.shape[1:])

        return hook

    hooks = [
        network.get_submodule(name).register_forward_hook(note_output(name)) for name in parameters
    ]
    with torch.no_grad(), reference_kernels(), FlopCounterMode(display=False) as counter:
        use()
    for handle in hooks:
        handle.remove()
    assert outputs.keys() == parameters.keys()  # every parameter is used
    operations = counter.get_flop_counts()
    root = type(network).__name__
    return [
        Layer(
            name,
            type(network.get_submodule(name)).__name__,
            output,
            parameters[name],
            sum(operations.get(f"{root}.{name}", {}).values()) / 1e9,
        )
        for name, output in outputs.items()
    ]


def _parameters_by_layer(network: nn.Module) -> dict[str, int]:
    """Count the parameters of each module, without its submodules; return them by dotted name."""
    counts: dict[str, int] = {}
    for name, parameter in network.named_parameters():
        layer = name.rpartition(".")[0]
        counts[layer] = counts.get(layer, 0) + parameter.numel()
    return counts
