"""From a generator to a number, through clean-fid's way and through ours."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import cleanfid.fid
import numpy as np
import numpy.typing as npt
import torch
from cleanfid.resize import make_resizer
from torch import Tensor, nn
from torch_fidelity import FeatureExtractorInceptionV3
from turns import DEVICE, Case, Side, Stopwatch, now

from fastgan_ray.config.model import ModelConfig
from fastgan_ray.metrics.extractors import Extractor, load_extractor
from fastgan_ray.metrics.extractors.inception import extractor_of_port
from fastgan_ray.metrics.frechet import frechet_distance
from fastgan_ray.models import build_generator
from fastgan_ray.pretrained.efficientnet import load_efficientnet

FAKES, BATCH = 128, 32
RESOLUTION, NGF = 128, 16
REALS = 100
STAGES = ("generator", "network", "pictures")

Network = Callable[[Tensor], Tensor]
Features = npt.NDArray[np.float32]
Distance = Callable[[Features, Features], float]


def extraction_cases(distance: Distance) -> list[Case]:
    """FAKES pictures against REALS; `distance` is clean-fid's, of features.

    Their network is the published one as it comes, ours the same weights as we run them.
    """
    return [_case(*_efficientnet_lite0(), distance), _case(*_inception(), distance)]


def _efficientnet_lite0() -> tuple[str, Extractor, Network]:
    plain = load_efficientnet("efficientnet_lite0").to(DEVICE)

    def features(images: Tensor) -> Tensor:
        maps: Tensor = plain.extract_features((images - 127) / 128)
        return maps.mean(dim=(2, 3))

    return "EfficientNet-Lite0", load_extractor("efficientnet_lite0", DEVICE), features


class _Blank(FeatureExtractorInceptionV3):
    def load_state_dict(self, *args: object, **kwargs: object) -> None:
        """Nothing: the file is empty."""


def _inception() -> tuple[str, Extractor, Network]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "empty.pth"
        torch.save({}, path)
        port = _Blank("inception-v3-compat", ["2048"], str(path))
    rng = torch.Generator().manual_seed(0)
    for module in port.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=rng)
    plain = nn.Sequential(*list(deepcopy(port).children())[:-1], nn.Flatten()).to(DEVICE)
    extractor = extractor_of_port(port, "", DEVICE)
    return "Inception of 2015, drawn weights", extractor, lambda x: plain((x - 128) / 128)


def _case(name: str, extractor: Extractor, plain: Network, distance: Distance) -> Case:
    sample, nz = _sampler(1)
    other, _ = _sampler(2)
    with torch.inference_mode():
        real = extractor(_stored(other(torch.randn(REALS, nz, device=DEVICE)))).cpu().numpy()

    def ours() -> Side:
        watch, start = Stopwatch(), now()
        watched = replace(extractor, network=watch("network", extractor.network))
        generate = watch("generator", sample)
        with torch.inference_mode():
            parts = [watched(_stored(generate(z.to(DEVICE)))) for z in _latents(nz)]
        fake = torch.cat(parts).numpy()
        return _finished(watch, start, lambda: frechet_distance(real, fake))

    def theirs() -> Side:
        watch, start = Stopwatch(), now()
        generate = watch("generator", sample)
        torch.manual_seed(0)
        fake = cleanfid.fid.get_model_features(
            lambda z: _stored(generate(z)).to(torch.uint8),
            watch("network", plain),
            z_dim=nz,
            num_gen=FAKES,
            batch_size=BATCH,
            device=DEVICE,
            verbose=False,
            custom_fn_resize=make_resizer("PIL", False, "bicubic", (extractor.size,) * 2),
        )
        return _finished(watch, start, lambda: distance(real, fake))

    return Case(f"generator to number, {name}", "clean-fid", ours, theirs)


def _finished(watch: Stopwatch, start: float, distance: Callable[[], float]) -> Side:
    extracted = now()
    value = distance()
    # What is neither network's: to 8 bits, the resizing, the copies.
    pictures = extracted - start - sum(watch.seconds.values())
    return Side(value, {**watch.seconds, "pictures": pictures, "solve": now() - extracted})


def _sampler(seed: int) -> tuple[Network, int]:
    """FastGAN's generator with drawn weights, latents to pictures in [-1, 1]; its latents' size."""
    config = ModelConfig(resolution=RESOLUTION, ngf=NGF)
    generator = build_generator(config, torch.Generator().manual_seed(seed)).eval().to(DEVICE)

    def sample(z_BZ: Tensor) -> Tensor:
        full: Tensor = generator(z_BZ, None)[0]
        return full

    return sample, config.nz


def _latents(nz: int) -> list[Tensor]:
    """What clean-fid draws after the same seed."""
    torch.manual_seed(0)
    return [torch.randn(BATCH, nz) for _ in range(FAKES // BATCH)]


def _stored(images: Tensor) -> Tensor:
    """[-1, 1] to the whole numbers 0..255 of a file."""
    return ((images + 1) * 127.5).round().clamp(0, 255)
