"""The command `summary` and the table of layers that it prints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastgan_ray.cli import options as opt
from fastgan_ray.cli.terminal import print_json, print_line, print_table

if TYPE_CHECKING:
    from fastgan_ray.config.run_config import RunConfig
    from fastgan_ray.train.summary import NetworkSummary

WORK = {
    "generator": "to generate one picture",
    "discriminator": "to judge one real picture",
}
DECODING = " and reconstruct it with every decoder"


def summary(
    target: Annotated[
        Path | None,
        typer.Argument(
            metavar="[TARGET]",
            help="A run configuration (YAML), a checkpoint, the folder of a search or a training, "
            "an exported folder, or a published .pth file.",
            show_default="the published FastGAN at 256 px",
        ),
    ] = None,
    assignments: opt.Assignments = None,
    as_json: opt.AsJson = False,
) -> None:
    """Print each layer of the networks: output shape, parameters and operations.

    Operations are in GFLOP (10^9 multiplications and additions). They are counted without the
    optimised kernels of this package. Use --set to change settings first, e.g.
    model.resolution=512. The summary of an exported folder has only the generator.
    """
    from fastgan_ray.config.override import override
    from fastgan_ray.models.exported_folder import layout_of
    from fastgan_ray.train.summary import summarise_discriminator, summarise_generator

    config = override(_config(target), opt.overrides(None, assignments, embedded=False))
    networks = [summarise_generator(config)]
    if target is None or layout_of(target) is None:
        networks.append(summarise_discriminator(config))
    if as_json:
        print_json([_as_dict(network) for network in networks])
        return
    for network in networks:
        _print(network)


def _config(target: Path | None) -> RunConfig:
    from fastgan_ray.config.run_config import RunConfig
    from fastgan_ray.config.run_file import load_run_config
    from fastgan_ray.latent.load import load_model
    from fastgan_ray.models.exported_folder import layout_of
    from fastgan_ray.train.checkpoint import stored_config
    from fastgan_ray.train.find_checkpoint import find_checkpoint

    if target is None:
        return RunConfig()
    if target.suffix in (".yaml", ".yml"):
        return load_run_config(target)
    if target.is_file() or layout_of(target):
        return load_model(target)[1]
    return stored_config(find_checkpoint(target))


def _print(network: NetworkSummary) -> None:
    rows = [
        [
            layer.name,
            layer.kind,
            "x".join(map(str, layer.output)),
            f"{layer.parameters:,}",
            f"{layer.gflop:.4f}" if layer.gflop else "",
        ]
        for layer in network.layers
    ]
    print_table(["layer", "kind", "output", "parameters", "GFLOP"], rows, right=[2, 3, 4])
    decodes = any(layer.name.startswith("decoders.") for layer in network.layers)
    print_line(
        f"{network.network}: {network.parameters:,} parameters; {network.gflop:.4g} GFLOP "
        f"{WORK[network.network]}{DECODING if decodes else ''}"
    )


def _as_dict(network: NetworkSummary) -> dict[str, Any]:
    return {
        "network": network.network,
        "parameters": network.parameters,
        "gflop": network.gflop,
        "layers": [layer._asdict() for layer in network.layers],
    }
