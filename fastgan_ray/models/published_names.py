"""Translate the names of layers and tensors in the published FastGAN to the names in our code."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from fastgan_ray.models.discriminator import Discriminator
from fastgan_ray.models.generator import COMPOUND_SIDES, Generator

# Names of the tensors of spectral normalisation: our name -> published name. Our networks use
# PyTorch's parametrization, the published networks use PyTorch's older hook.
_SPECTRAL = {
    "parametrizations.weight.original": "weight_orig",
    "parametrizations.weight.0._u": "weight_u",
    "parametrizations.weight.0._v": "weight_v",
}


def generator_names(generator: Generator) -> dict[str, str]:
    """Return {published name: our name} for every tensor of the generator.

    The tensors are in the order of the published code.
    """
    return _tensor_names(generator, _generator_modules(generator.config.resolution))


def discriminator_names(discriminator: Discriminator) -> dict[str, str]:
    """Return {published name: our name} for every tensor of the discriminator."""
    return _tensor_names(discriminator, _discriminator_modules())


def parameter_names(generator: Generator) -> list[str]:
    """List the published names of the generator's parameters.

    They are in the order of `parameters()` in the published code.
    """
    parameters = dict(generator.named_parameters())
    return [name for name, ours in generator_names(generator).items() if ours in parameters]


def _generator_modules(resolution: int) -> Iterator[tuple[str, str]]:
    """Yield (published name, our name) of each layer, in the order of the published generator."""
    yield "init.init.0", "stem.conv"
    yield "init.init.1", "stem.norm"
    for side in (8, 16, 32, 64, 128, 256):
        yield from _up_modules(side)
    for target in (64, 128, 256):
        yield from _skip_modules(f"se_{target}", f"skips.{target}")
    yield "to_128", "to_small"
    yield "to_big", "to_full"
    if resolution >= 512:
        yield from _up_modules(512)
        yield from _skip_modules("se_512", "skips.512")
    if resolution >= 1024:
        yield from _up_modules(1024)


def _up_modules(side: int) -> Iterator[tuple[str, str]]:
    published, ours = f"feat_{side}", f"blocks.{side}.layers"
    if side in COMPOUND_SIDES:
        for layer, first in enumerate((1, 5)):
            yield f"{published}.{first}", f"{ours}.{layer}.conv"
            yield f"{published}.{first + 1}", f"{ours}.{layer}.noise"
            yield f"{published}.{first + 2}", f"{ours}.{layer}.norm"
    else:
        yield f"{published}.1", f"{ours}.0.conv"
        yield f"{published}.2", f"{ours}.0.norm"


def _skip_modules(published: str, ours: str) -> Iterator[tuple[str, str]]:
    yield f"{published}.main.1", f"{ours}.squeeze"
    yield f"{published}.main.3", f"{ours}.excite"


def _discriminator_modules() -> Iterator[tuple[str, str]]:
    """Yield (published name, our name) of each layer, or group of layers, of the discriminator."""
    yield "down_from_big", "stem"
    for index, level in enumerate((4, 8, 16, 32, 64)):
        yield f"down_{level}", f"blocks.{index}"
    yield "rf_big", "head"
    for index, sides in ((2, "2_16"), (3, "4_32"), (4, "8_64")):
        yield from _skip_modules(f"se_{sides}", f"skips.{index}")
    yield "down_from_small.0", "small.0"
    for step in (2, 3, 4):
        conv = 3 * step - 4
        yield f"down_from_small.{step}.main.0", f"small.{conv}"
        yield f"down_from_small.{step}.main.1", f"small.{conv + 1}"
    yield "rf_small", "small_head"
    for published, ours in (("big", "full"), ("part", "part"), ("small", "small")):
        for block in range(4):
            layer = f"decoders.{ours}.blocks.{block}.layers.0"
            yield f"decoder_{published}.main.{block + 1}.1", f"{layer}.conv"
            yield f"decoder_{published}.main.{block + 1}.2", f"{layer}.norm"
        yield f"decoder_{published}.main.5", f"decoders.{ours}.to_image"


def _tensor_names(network: nn.Module, modules: Iterator[tuple[str, str]]) -> dict[str, str]:
    keys = list(network.state_dict())
    return {
        f"{published}.{_published_suffix(key.removeprefix(f'{ours}.'))}": key
        for published, ours in modules
        for key in keys
        if key.startswith(f"{ours}.")
    }


def _published_suffix(suffix: str) -> str:
    for ours, published in _SPECTRAL.items():
        if suffix.endswith(ours):
            return suffix.removesuffix(ours) + published
    return suffix
