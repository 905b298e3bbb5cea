"""RunConfig: every choice of one training run, with the published FastGAN as the default.

Sections are frozen and strict: an unknown key, a wrong type or a value out of range is an error.
Units stand in names (`total_kimg` = thousands of real images shown) or in the description.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

RESOLUTIONS = (32, 64, 128, 256, 512, 1024)
ADAPTIVE_OPS = ("bgc", "keras")  # those of the probability p that `augment.ada` controls
AUGMENT_OPS = ("color", "translation", "cutout", *ADAPTIVE_OPS)
# Published: a decay of .999 for each step of 8 images, as a half-life in thousands of images.
PUBLISHED_EMA_HALFLIFE_KIMG = 8 * math.log(0.5) / math.log(0.999) / 1000


def policy_ops(policy: str) -> list[str]:
    """The operations of an augmentation policy in order: "color, cutout" -> ["color", "cutout"]."""
    return [op.strip() for op in policy.split(",") if op.strip()]


class _Section(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, validate_default=True
    )


class DataConfig(_Section):
    """Which pictures, and how each becomes a square."""

    path: str | None = Field(
        None, description="folder, .zip, LMDB folder, or a name that `fastgan-ray data` lists"
    )
    fit: Literal["squash", "crop", "pad"] = Field(
        "squash", description="how a picture that is not square becomes one (published: squash)"
    )
    background: str = Field(
        "#ffffff",
        pattern=r"^#[0-9a-fA-F]{6}$",
        description="colour under transparent pixels and padding, as #rrggbb",
    )
    on_bad_image: Literal["error", "skip"] = Field(
        "error", description="what an unreadable file does: stop with its name, or be left out"
    )
    limit: int | None = Field(
        None, ge=2, description="train on this many pictures, drawn once by the seed; null = all"
    )
    flip: float = Field(0.5, ge=0, le=1, description="probability of a horizontal flip")


class ModelConfig(_Section):
    """Generator and discriminator: sizes and component switches.

    A field of one architecture means nothing to the other: dcgan reads resolution, nz, dcgan_width,
    dcgan_depth, output_activation, d_dropout and, of self_supervision, whether it contrasts.
    """

    architecture: Literal["fastgan", "dcgan"] = Field(
        "fastgan", description="dcgan = the baseline of Keras' adaptive-augmentation example"
    )
    resolution: int = Field(256, description="side of the generated picture in pixels")
    ngf: int = Field(64, ge=1, le=1024, description="generator's base width (filter count)")
    ndf: int = Field(64, ge=1, le=1024, description="discriminator's base width (filter count)")
    nz: int = Field(256, ge=1, le=8192, description="length of the latent vector")
    g_channels: list[int] | None = Field(
        None, description="generator's width at 4, 8, 16, ... px up to resolution, instead of ngf"
    )
    d_channels: list[int] | None = Field(
        None,
        description="discriminator's width at levels 8, 16, ... up to resolution, instead of ndf "
        "(after the stem, maps of s px have the width of level 2s)",
    )
    g_sle_4: bool = Field(True, description="skip-layer excitation from 4 px (to 64; 32 at 32 px)")
    g_sle_8: bool = Field(True, description="skip-layer excitation 8 -> 128 px")
    g_sle_16: bool = Field(True, description="skip-layer excitation 16 -> 256 px")
    g_sle_32: bool = Field(True, description="skip-layer excitation 32 -> 512 px")
    g_noise: bool = Field(True, description="noise injection in the generator")
    output_activation: Literal["tanh", "none"] = Field(
        "tanh", description="on both outputs; none = as the published 256 and 512 px checkpoints"
    )
    d_sle: bool = Field(True, description="skip-layer excitation in the discriminator")
    d_small: bool = Field(True, description="the discriminator's branch on the small picture")
    d_dropout: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="share of the features dropped before the discriminator's logits; null = the "
        "architecture's own: fastgan 0, dcgan 0.4",
    )
    self_supervision: Literal["ae", "none", "contrastive", "ae_contrastive"] = Field(
        "ae",
        description="of the discriminator: ae = the enabled decoders (published); contrastive = a "
        "projection of two augmented views; none and contrastive build no decoder",
    )
    decode_full: bool = Field(True, description="decoder on the 8x8 trunk (self-supervision)")
    decode_small: bool = Field(True, description="decoder on the small branch (self-supervision)")
    decode_part: Literal["random", "centre", "none"] = Field(
        "random", description="decoder on an 8x8 part of the 16x16 trunk: which part, or none"
    )
    decoder_width: int = Field(
        32, ge=1, le=1024, description="decoders' base width (published: 32, whatever ndf is)"
    )
    spectral_norm: bool = Field(True, description="spectral normalisation of all convolutions")
    dcgan_width: int = Field(128, ge=1, le=1024, description="filters of each of dcgan's layers")
    dcgan_depth: int = Field(
        4, ge=3, le=8, description="dcgan's doublings from 4 px: resolution is 4 * 2^depth"
    )

    @property
    def autoencodes(self) -> bool:
        """Whether the enabled decoders are built and trained."""
        kinds = ("ae", "ae_contrastive")
        return self.architecture == "fastgan" and self.self_supervision in kinds

    @property
    def contrasts(self) -> bool:
        """Whether the projection of the contrastive loss is built and trained."""
        return self.self_supervision in ("contrastive", "ae_contrastive")

    @property
    def dropout(self) -> float:
        """Share of the features dropped before the discriminator's logits."""
        own = {"fastgan": 0.0, "dcgan": 0.4}[self.architecture]
        return own if self.d_dropout is None else self.d_dropout

    @field_validator("resolution")
    @classmethod
    def _power_of_two(cls, value: int) -> int:
        if value not in RESOLUTIONS:
            raise ValueError(f"must be a power of two from 32 to 1024 (one of {RESOLUTIONS})")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> ModelConfig:
        for name, first in (("g_channels", 4), ("d_channels", 8)):
            widths = getattr(self, name)
            if widths is None:
                continue
            expected = int(math.log2(self.resolution // first)) + 1
            if len(widths) != expected or any(not 1 <= width <= 16384 for width in widths):
                raise ValueError(
                    f"{name} must list {expected} widths from 1 to 16384, one for each of "
                    f"{first} to {self.resolution} px (got {widths})"
                )
        if self.architecture == "dcgan" and self.resolution != 4 * 2**self.dcgan_depth:
            raise ValueError(
                f"with architecture dcgan and dcgan_depth {self.dcgan_depth}, resolution must be "
                f"4 * 2^dcgan_depth = {4 * 2**self.dcgan_depth} (got {self.resolution})"
            )
        if self.autoencodes and self.decode_small and not self.d_small:
            raise ValueError(
                "decode_small reads the small branch: with d_small false, set it to false too"
            )
        return self


class AugmentConfig(_Section):
    """Differentiable augmentation of real and generated pictures: DiffAugment, ADA, or both."""

    policy: str = Field(
        "color,translation",
        description=f"comma list of {', '.join(AUGMENT_OPS)} in their order; empty = none. "
        "bgc and keras are adaptive: StyleGAN2-ADA's pipe and Keras' flip, shift, rotate, zoom",
    )
    probability: float = Field(
        1.0, ge=0, le=1, description="chance of each picture to get color, translation and cutout"
    )
    brightness: float = Field(0.5, ge=0, le=2, description="shift by U(-b, b), of a range of 2")
    saturation: float = Field(1.0, ge=0, le=1, description="factor U(1-s, 1+s) about the grey")
    contrast: float = Field(0.5, ge=0, le=1, description="factor U(1-c, 1+c) about the mean")
    translation: float = Field(0.125, ge=0, le=1, description="shift by up to this share of a side")
    cutout: float = Field(0.5, ge=0, le=1, description="side of the blank square, share of a side")
    ada: Literal["stylegan2", "keras", "none"] = Field(
        "stylegan2", description="what controls p, the probability of bgc and keras; none = fixed"
    )
    ada_p: float = Field(0.0, ge=0, le=1, description="p at the start; all along with ada none")
    ada_max_p: float = Field(
        0.85, ge=0, le=1, description="bound of p: near 1, generated pictures look augmented"
    )
    ada_target: float | None = Field(
        None,
        ge=0,
        le=1,
        description="of stylegan2: the mean sign of D's real logits (null = 0.6); of keras: D's "
        "accuracy on real pictures (null = 0.85)",
    )
    ada_kimg: float = Field(
        500.0, gt=0, description="thousands of images in which stylegan2 moves p by 1"
    )
    ada_interval: int = Field(4, ge=1, le=1024, description="steps between stylegan2's moves of p")

    @field_validator("policy")
    @classmethod
    def _known_ops(cls, value: str) -> str:
        ops = policy_ops(value)
        if unknown := [op for op in ops if op not in AUGMENT_OPS]:
            raise ValueError(f"must be a comma list of {AUGMENT_OPS}: {unknown} unknown")
        if len(set(ops)) != len(ops):
            raise ValueError("must name each operation once")
        return value

    @model_validator(mode="after")
    def _starts_within_its_bound(self) -> AugmentConfig:
        if self.ada_p > self.ada_max_p:
            raise ValueError(
                f"ada_p must not exceed ada_max_p (got {self.ada_p} and {self.ada_max_p}): "
                "lower the one or raise the other"
            )
        return self


class TrainConfig(_Section):
    """Losses, optimisers, length."""

    total_kimg: float = Field(
        400.0,
        gt=0,
        description="length in thousands of real images shown (published: 50k steps of 8)",
    )
    batch_size: int = Field(8, ge=1, le=4096, description="images a batch")
    d_steps: int = Field(
        1,
        ge=1,
        le=64,
        description="discriminator's steps for each of the generator's, each on a batch of its own",
    )
    lr_g: float = Field(2e-4, gt=0, lt=1, description="generator's Adam learning rate")
    lr_d: float = Field(2e-4, gt=0, lt=1, description="discriminator's Adam learning rate")
    beta1: float = Field(0.5, ge=0, lt=1, description="Adam's first-moment decay, both networks")
    beta2: float = Field(0.999, ge=0, lt=1, description="Adam's second-moment decay, both networks")
    loss: Literal["hinge", "logistic", "least_squares", "wasserstein", "relativistic"] = Field(
        "hinge", description="adversarial loss (relativistic: R3GAN's, with r1_gamma and r2_gamma)"
    )
    label_noise: float = Field(
        0.2,
        ge=0,
        le=1,
        description="labels (hinge: margins) drawn from U(1 - this, 1); 0 = plain hinge; "
        "wasserstein and relativistic have none",
    )
    r1_gamma: float = Field(
        0.0, ge=0, description="weight of the gradient penalty on real pictures; 0 = off"
    )
    r2_gamma: float = Field(
        0.0, ge=0, description="weight of the gradient penalty on generated pictures; 0 = off"
    )
    r1_interval: int = Field(
        16, ge=1, description="discriminator's steps between R1 and R2 penalties (lazy)"
    )
    gp_weight: float = Field(
        10.0, ge=0, description="weight of the wasserstein loss' gradient penalty, at every step"
    )
    reconstruction: Literal["lpips_vgg", "efficientnet_lite0", "l1", "l2"] = Field(
        "lpips_vgg", description="distance between the decoders' pictures and their targets"
    )
    reconstruction_weight: float = Field(
        8.0, ge=0, description="weight of the mean distance (8 = published sum at batch 8)"
    )
    reconstruction_reduction: Literal["mean", "sum"] = Field(
        "mean",
        description="over a batch; sum = published, with reconstruction_weight 1: the weight grows "
        "with batch_size",
    )
    contrastive_weight: float = Field(1.0, ge=0, description="weight of the contrastive loss")
    contrastive_temperature: float = Field(
        0.1, gt=0, le=100, description="divides the contrastive loss' cosine similarities"
    )
    ema_halflife_kimg: float = Field(
        PUBLISHED_EMA_HALFLIFE_KIMG,
        ge=0,
        description="half-life of the generator's weight average; 0 = no average",
    )
    ema_rampup: float = Field(
        0.0, ge=0, description="cap the half-life at this share of the images shown; 0 = no cap"
    )
    seed: int = Field(0, ge=0, lt=2**31, description="of every random choice in the run")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="where to train")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="bf16 = autocast; auto = bf16 where the device is faster with it"
    )

    @property
    def images_per_step(self) -> int:
        """Real images that one step shows: a batch for each of the discriminator's."""
        return self.d_steps * self.batch_size


class ReganConfig(_Section):
    """Training the generator sparse and dense in turns (Re-GAN); off by default."""

    sparsity: float = Field(
        0.0, ge=0, lt=1, description="share of each convolution's weights pruned; 0 = off"
    )
    warmup_kimg: float = Field(40.0, ge=0, description="dense training before the first pruning")
    interval_kimg: float = Field(40.0, gt=0, description="length of a sparse or a dense phase")
    regrow: Literal["zero", "stored"] = Field(
        "zero", description="where pruned weights start in a dense phase: 0, or their last value"
    )
    dense_lr_factor: float = Field(
        0.1, gt=0, le=10, description="times lr_g in dense phases, the warm-up left out"
    )


class EvalConfig(_Section):
    """The metric's protocol, and how often it is measured."""

    extractor: Literal[
        "inception",
        "inception_pytorch",
        "dinov2_vitb14",
        "dinov2_vitl14",
        "clip_vitb32",
        "efficientnet_lite0",
    ] = Field(
        "inception",
        description="feature network: inception = FID, inception_pytorch = FID on the PyTorch "
        "port, dinov2_vitl14 = FD_DINOv2; efficientnet_lite0 = embedded, no download",
    )
    num_fakes: int = Field(5000, ge=2, description="generated images per evaluation")
    early_fakes: int | None = Field(
        None,
        ge=2,
        description="generated images of evaluations before a run's last, whose numbers are kept "
        "apart as early/...; null = num_fakes",
    )
    mirrored_reference: bool = Field(
        False, description="compare with the real pictures and their mirror images"
    )
    every_kimg: float = Field(40.0, gt=0, description="thousands of images between evaluations")
    batch_size: int = Field(32, ge=1, le=4096, description="images per evaluation batch")
    seed: int = Field(0, ge=0, lt=2**31, description="of the evaluation's latents")
    probe_steps: int = Field(
        0,
        ge=0,
        description="batches of 8 that a fresh decoder learns at the run's end to reconstruct the "
        "pictures from the discriminator's frozen features (d_reconstruction); 0 = off",
    )

    @model_validator(mode="after")
    def _fewer_early(self) -> EvalConfig:
        if self.early_fakes is not None and self.early_fakes > self.num_fakes:
            raise ValueError(
                "early_fakes must be at most num_fakes "
                f"(got early_fakes {self.early_fakes}, num_fakes {self.num_fakes})"
            )
        return self


class ResourcesConfig(_Section):
    """What one trial takes of the machine or cluster."""

    cpus: float = Field(1.0, gt=0, description="CPU cores; threads of the trial")
    gpus: float | None = Field(
        None, ge=0, description="GPUs, fractions allowed; null = by resolution, width and batch"
    )


class RunConfig(_Section):
    """One training run. `RunConfig.model_validate({})` is the published FastGAN at 256 px."""

    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    augment: AugmentConfig = AugmentConfig()
    train: TrainConfig = TrainConfig()
    regan: ReganConfig = ReganConfig()
    eval: EvalConfig = EvalConfig()
    resources: ResourcesConfig = ResourcesConfig()


def nest(flat: dict[str, Any]) -> dict[str, Any]:
    """Dotted keys to nested sections: {"model.ngf": 8} -> {"model": {"ngf": 8}}."""
    nested: dict[str, Any] = {}
    for key, value in flat.items():
        *sections, leaf = key.split(".")
        place = nested
        for section in sections:
            place = place.setdefault(section, {})
        place[leaf] = value
    return nested


def flatten(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested sections to dotted keys, the inverse of `nest`."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, dict):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


def field_names() -> Sequence[str]:
    """Every dotted name that a search space may use, in schema order."""
    return list(flatten(RunConfig().model_dump()))
