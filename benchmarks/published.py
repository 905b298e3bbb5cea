"""FastGAN and its training step as the published code does them: eager, float32, channels first.

Written afresh from the paper's and the code's facts, as the thing to be compared with: nearest
doubling before 3x3 convolutions, PyTorch's spectral norm and gated linear unit, three calls of the
perceptual distance, a backward pass for real and one for generated pictures, gradients for D in G's
step, Adam and the weight average a tensor at a time. Layers are named as ours are, so that weights
can be carried over, and random numbers are drawn from the same streams in the same order.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from fastgan_ray.augment import pipeline
from fastgan_ray.config.model import ModelConfig
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.models import Generator, small_resolution
from fastgan_ray.models.discriminator import Discriminator, discriminator_channels
from fastgan_ray.models.generator import COMPOUND_SIDES, generator_channels, skip_sources
from fastgan_ray.train.perceptual import Distance
from fastgan_ray.train.rng import seed_device_streams, streams
from fastgan_ray.train.state import TrainState


def conv(c_in: int, c_out: int, kernel: int, stride: int = 1, padding: int = 0) -> nn.Module:
    return spectral_norm(nn.Conv2d(c_in, c_out, kernel, stride, padding, bias=False))


class Noise(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, rng: torch.Generator) -> Tensor:
        noise = torch.randn(len(x), 1, *x.shape[2:], generator=rng, device=rng.device).to(x)
        return x + self.weight * noise


class Gated(nn.Module):
    def __init__(self, layer: nn.Module, channels: int, noise: bool = False) -> None:
        super().__init__()
        self.conv, self.norm = layer, nn.BatchNorm2d(channels)
        self.noise = Noise() if noise else None

    def forward(self, x: Tensor, rng: torch.Generator | None = None) -> Tensor:
        x = self.conv(x)
        if self.noise is not None:
            x = self.noise(x, rng)
        return F.glu(self.norm(x), dim=1)


class Up(nn.Module):
    def __init__(self, c_in: int, c_out: int, compound: bool = False) -> None:
        super().__init__()
        inputs = (c_in, c_out) if compound else (c_in,)
        self.layers = nn.ModuleList(
            Gated(conv(width, 2 * c_out, 3, padding=1), 2 * c_out, compound) for width in inputs
        )

    def forward(self, x: Tensor, rng: torch.Generator | None = None) -> Tensor:
        x = F.interpolate(x, scale_factor=2, mode="nearest")
        for layer in self.layers:
            x = layer(x, rng)
        return x


class Skip(nn.Module):
    def __init__(self, c_source: int, c_target: int) -> None:
        super().__init__()
        self.squeeze, self.excite = conv(c_source, c_target, 4), conv(c_target, c_target, 1)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        gate = self.excite(F.silu(self.squeeze(F.adaptive_avg_pool2d(source, 4))))
        return target * torch.sigmoid(gate)


class PublishedGenerator(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        c = generator_channels(config)
        self.resolution, self.sources = config.resolution, skip_sources(config)
        stem = spectral_norm(nn.ConvTranspose2d(config.nz, 2 * c[4], 4, bias=False))
        self.stem = Gated(stem, 2 * c[4])
        self.blocks = nn.ModuleDict(
            {str(s): Up(c[s // 2], c[s], s in COMPOUND_SIDES) for s in c if s > 4}
        )
        self.skips = nn.ModuleDict({str(t): Skip(c[s], c[t]) for t, s in self.sources.items()})
        self.small = small_resolution(config.resolution)
        self.to_small, self.to_full = (
            conv(c[self.small], 3, 1),
            conv(c[self.resolution], 3, 3, 1, 1),
        )

    def forward(self, z: Tensor, rng: torch.Generator) -> list[Tensor]:
        features = {4: self.stem(z[:, :, None, None])}
        for name, block in self.blocks.items():
            side = int(name)
            x = block(features[side // 2], rng)
            if side in self.sources:
                x = self.skips[name](features[self.sources[side]], x)
            features[side] = x
        small = torch.tanh(self.to_small(features[self.small]))
        return [torch.tanh(self.to_full(features[self.resolution])), small]


class Down(nn.Module):
    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.main = nn.Sequential(*half(c_in, c_out), conv(c_out, c_out, 3, 1, 1), *norm(c_out))
        self.direct = nn.Sequential(nn.AvgPool2d(2), conv(c_in, c_out, 1), *norm(c_out))

    def forward(self, x: Tensor) -> Tensor:
        return (self.main(x) + self.direct(x)) / 2


def norm(channels: int) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels), nn.LeakyReLU(0.2)]


def half(c_in: int, c_out: int) -> list[nn.Module]:
    return [conv(c_in, c_out, 4, 2, 1), *norm(c_out)]


class Decoder(nn.Module):
    def __init__(self, c_in: int, width: int, side: int) -> None:
        super().__init__()
        multiples = {16: 4, 32: 2, 64: 2, 128: 1}
        c = [c_in, *(m * width for s, m in multiples.items() if s <= side)]
        self.blocks = nn.Sequential(*(Up(a, b) for a, b in itertools.pairwise(c)))
        self.to_image = conv(c[-1], 3, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.to_image(self.blocks(x)))


class PublishedDiscriminator(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        c, side = discriminator_channels(config), config.resolution
        top = min(2 * side, 512)
        levels = [top >> k for k in range(1, (top // 16).bit_length())]
        first = conv(3, c[2 * side], 3, 1, 1) if side <= 256 else conv(3, c[side], 4, 2, 1)
        more = half(c[1024], c[512]) if side == 1024 else []
        self.stem = nn.Sequential(first, nn.LeakyReLU(0.2), *more)
        self.blocks = nn.ModuleList(Down(c[2 * level], c[level]) for level in levels)
        sources = [top, *levels]
        self.skips = nn.ModuleDict(
            {str(i): Skip(c[sources[i - 2]], c[levels[i]]) for i in range(2, len(levels))}
        )
        self.head = nn.Sequential(conv(c[16], c[8], 1), *norm(c[8]), conv(c[8], 1, 4))
        start = 2 * small_resolution(side)
        steps = [start >> k for k in range((start // 32).bit_length())]
        rest = [layer for s in steps[1:] for layer in half(c[2 * s], c[s])]
        self.small = nn.Sequential(conv(3, c[start], 4, 2, 1), nn.LeakyReLU(0.2), *rest)
        self.small_head = conv(c[32], 1, 4)
        inputs = {"full": c[16], "part": c[32], "small": c[32]}
        self.decoders = nn.ModuleDict(
            {n: Decoder(w, config.decoder_width, min(128, side)) for n, w in inputs.items()}
        )

    def forward(
        self, full: Tensor, small: Tensor, part: int | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        features = [self.stem(full)]
        for index, block in enumerate(self.blocks):
            x = block(features[-1])
            if str(index) in self.skips:
                x = self.skips[str(index)](features[index - 2], x)
            features.append(x)
        low = self.small(small)
        logits = torch.cat([self.head(features[-1]).flatten(1), self.small_head(low).flatten(1)], 1)
        if part is None:
            return logits, []
        seen = {"full": features[-1], "part": quadrant(features[-2], part), "small": low}
        return logits, [self.decoders[name](seen[name]) for name in ("full", "small", "part")]


def quadrant(x: Tensor, part: int) -> Tensor:
    side = x.shape[-1] // 2
    top, left = side * (part // 2), side * (part % 2)
    return x[:, :, top : top + side, left : left + side]


class PublishedStep:
    """The networks, optimisers and random streams of a training in the published manner."""

    def __init__(self, state: TrainState, config: RunConfig, distance: Distance) -> None:
        """As `state`, which stays as it is, but for what its streams have drawn so far."""
        assert isinstance(state.generator, Generator)
        assert isinstance(state.discriminator, Discriminator)
        self.config, self.distance = config, distance
        self.generator = PublishedGenerator(config.model)
        self.discriminator = PublishedDiscriminator(config.model)
        for network, ours in self.networks(state):
            network.to(next(ours.parameters()))
            network.load_state_dict(ours.state_dict())
        self.average = {n: w.detach().clone() for n, w in self.generator.named_parameters()}
        train = config.train
        self.optimizers = [
            torch.optim.Adam(network.parameters(), lr=rate, betas=(train.beta1, train.beta2))
            for network, rate in ((self.generator, train.lr_g), (self.discriminator, train.lr_d))
        ]
        device = next(self.generator.parameters()).device
        self.rngs, self.steps = streams(train.seed, device), 0

    def networks(self, state: TrainState) -> list[tuple[nn.Module, nn.Module]]:
        """Ours beside these."""
        return [(self.generator, state.generator), (self.discriminator, state.discriminator)]

    def __call__(self, pictures: Tensor) -> dict[str, Tensor]:
        """One step on real pictures (B, 3, R, R); the losses by their names."""
        train, model, count = self.config.train, self.config.model, len(pictures)
        seed_device_streams(self.rngs, train.seed, self.steps)
        self.steps += 1
        z = torch.randn(count, model.nz, generator=self.rngs["latents"]).to(pictures)
        fake = self.augmented(self.generator(z, self.rngs["noise"]))
        (real,) = self.augmented([pictures])
        small = F.interpolate(real, size=small_resolution(model.resolution))
        part = int(torch.randint(4, (), generator=self.rngs["part"]))
        self.discriminator.zero_grad()
        logits, decoded = self.discriminator(real, small, part)
        labels = 1 - train.label_noise * torch.rand(
            (2, *logits.shape), generator=self.rngs["labels"]
        )
        loss_real = F.relu(labels[0].to(logits) - logits).mean()
        error = torch.zeros((), device=pictures.device)
        for picture, seen in zip(decoded, (real, real, quadrant(real, part)), strict=True):
            error = error + self.distance(picture, F.interpolate(seen, size=picture.shape[-1]))
        (loss_real + train.reconstruction_weight * error).backward()
        logits, _ = self.discriminator(*(image.detach() for image in fake))
        loss_fake = F.relu(labels[1].to(logits) + logits).mean()
        loss_fake.backward()
        self.optimizers[1].step()
        self.generator.zero_grad()
        loss_g = -self.discriminator(*fake)[0].mean()
        loss_g.backward()
        self.optimizers[0].step()
        decay = 0.5 ** (train.images_per_step / (train.ema_halflife_kimg * 1000))
        for name, weight in self.generator.named_parameters():
            self.average[name].mul_(decay).add_((1 - decay) * weight.detach())
        losses = {"d": loss_real + loss_fake, "reconstruction": error, "g": loss_g}
        return {f"loss/{name}": loss.detach() for name, loss in losses.items()}

    def augmented(self, images: list[Tensor]) -> list[Tensor]:
        """DiffAugment's colour and translation, by the draws that ours makes."""
        drawn = pipeline.draw(self.config.augment, len(images[0]), self.rngs["augment"])
        return [
            _translated(_coloured(image, drawn["color"]), drawn["translation"]) for image in images
        ]


def _coloured(x: Tensor, drawn: dict[str, Tensor]) -> Tensor:
    brightness, saturation, contrast = (
        drawn[name].to(x).view(-1, 1, 1, 1) for name in ("brightness", "saturation", "contrast")
    )
    x = x + brightness
    mean = x.mean(dim=1, keepdim=True)
    x = (x - mean) * saturation + mean
    mean = x.mean(dim=[1, 2, 3], keepdim=True)
    return (x - mean) * contrast + mean


def _translated(x: Tensor, drawn: dict[str, Tensor]) -> Tensor:
    side = x.shape[-1]
    limit = int(side * float(drawn["limit"]) + 0.5)
    shift = ((drawn["where"] * (2 * limit + 1)).floor().long() - limit).to(x.device)
    batch, row, column = torch.meshgrid(
        *(torch.arange(size, device=x.device) for size in (len(x), side, side)), indexing="ij"
    )
    row = (row - shift[:, 0].view(-1, 1, 1) + 1).clamp(0, side + 1)
    column = (column - shift[:, 1].view(-1, 1, 1) + 1).clamp(0, side + 1)
    padded = F.pad(x, [1, 1, 1, 1])
    return padded.permute(0, 2, 3, 1).contiguous()[batch, row, column].permute(0, 3, 1, 2)
