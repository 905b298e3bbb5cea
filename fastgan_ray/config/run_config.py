"""RunConfig: every setting of one training run; the defaults are those of the published FastGAN.

Sections are frozen and strict: an unknown key, a wrong type or a value out of range is an error.
The unit of a setting is in its name or in its description; total_kimg is in thousands of real
images shown.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from fastgan_ray.config.aliases import current_name
from fastgan_ray.config.model import RESOLUTIONS as RESOLUTIONS
from fastgan_ray.config.model import ModelConfig as ModelConfig
from fastgan_ray.config.section import Section
from fastgan_ray.config.strict_yaml import suggestion
from fastgan_ray.config.training import ReganConfig as ReganConfig
from fastgan_ray.config.training import TrainConfig as TrainConfig

_LENGTH = "the length of a training is train.total_kimg, in thousands of images"
_IN_EPOCHS = f"{_LENGTH}: epochs x number of pictures / 1000"
_IN_STEPS = f"{_LENGTH}: steps x train.batch_size / 1000"
_LEARNING_RATE = "did you mean train.lr_g or train.lr_d?"
_OPTIMISER = (
    "the optimiser is always Adam, with train.lr_g, train.lr_d, train.beta1 and train.beta2"
)
_SIDE = "did you mean model.resolution?"
_LATENT = "did you mean model.nz?"
_PATH = "did you mean data.path?"
# Names of settings in other programs -> the hint for a user who writes them.
OTHER_NAMES = {
    **dict.fromkeys(("lr", "learning_rate", "lrate", "nlr"), _LEARNING_RATE),
    **dict.fromkeys(("g_lr", "lr_generator", "generator_lr"), "did you mean train.lr_g?"),
    **dict.fromkeys(("d_lr", "lr_discriminator", "discriminator_lr"), "did you mean train.lr_d?"),
    **dict.fromkeys(("epoch", "epochs", "num_epochs", "n_epochs", "max_epochs"), _IN_EPOCHS),
    **dict.fromkeys(("step", "steps", "num_steps", "max_steps", "iter", "iters"), _IN_STEPS),
    **dict.fromkeys(("iterations", "num_iterations", "max_iter", "max_iterations"), _IN_STEPS),
    **dict.fromkeys(("batch", "bs", "batchsize", "minibatch"), "did you mean train.batch_size?"),
    **dict.fromkeys(("im_size", "img_size", "image_size", "imsize", "size", "res"), _SIDE),
    **dict.fromkeys(("z_dim", "zdim", "latent_dim", "latent_size", "dim_z"), _LATENT),
    **dict.fromkeys(("dataset", "data_path", "data_dir", "dataroot", "root"), _PATH),
    **dict.fromkeys(("optimizer", "optimiser", "optim"), _OPTIMISER),
    **dict.fromkeys(("kimg", "total_images"), "did you mean train.total_kimg?"),
    **dict.fromkeys(
        ("diffaug", "diffaugment", "aug", "augmentation"), "did you mean augment.policy?"
    ),
}

# `augment.ada` controls p, the probability of these operations.
ADAPTIVE_OPS = ("bgc", "keras")
AUGMENT_OPS = ("color", "translation", "cutout", *ADAPTIVE_OPS)

# The user's own operations, which `fastgan_ray.register` adds, and whether they are adaptive.
REGISTERED_OPS: dict[str, bool] = {}


def policy_ops(policy: str) -> list[str]:
    """List the operations of an augmentation policy: "color, cutout" -> ["color", "cutout"]."""
    return [op.strip() for op in policy.split(",") if op.strip()]


def is_adaptive(op: str) -> bool:
    """Return whether `augment.ada` controls the probability of an operation."""
    return op in ADAPTIVE_OPS or REGISTERED_OPS.get(op, False)


def unknown_ops(policy: str) -> list[str]:
    """List the operations of a policy that neither this package has nor the user registered."""
    return [op for op in policy_ops(policy) if op not in (*AUGMENT_OPS, *REGISTERED_OPS)]


def how_to_register(op: str) -> str:
    """Write what to do if an unknown operation is the user's own."""
    return f'If it is your own operation, first call fastgan_ray.register("{op}", ...)'


Mode = Literal["rgb", "grey", "rgba"]
# The number of channels of a picture.
CHANNELS: dict[Mode, int] = {"grey": 1, "rgb": 3, "rgba": 4}


class DataConfig(Section):
    """The training pictures: their path, colours, and how they get the shape of generated ones."""

    path: str | None = Field(
        None,
        description="the pictures: a folder, an archive (.zip, .tar), a .npy file, an LMDB folder, "
        "or a name that `fastgan-ray data` lists",
    )
    fit: Literal["squash", "crop", "pad"] = Field(
        "squash",
        description="how a picture gets the proportions of model.aspect (by default, square): "
        "squash = change its proportions (published); crop = cut off the edges; pad = add a border",
    )
    mode: Mode = Field(
        "rgb",
        description="colours of the training pictures and of the generated ones: rgb; grey = "
        "shades of grey; rgba = colours and transparency",
    )
    background: str = Field(
        "#ffffff",
        pattern=r"^#[0-9a-fA-F]{6}$",
        description="colour of transparent pixels and of the border that pad adds, as #rrggbb. "
        "With mode rgba the border is transparent, and networks that do not know transparency see "
        "the pictures on this colour",
    )
    on_bad_image: Literal["error", "skip"] = Field(
        "error",
        description="what to do if files cannot be read: error = stop and list the files; "
        "skip = train without them",
    )
    frames: Literal["first", "all"] = Field(
        "first",
        description="what is used of a file with pages or frames (TIFF, GIF, WebP, animated PNG, "
        "AVIF): first = its first picture; all = every page or frame is a picture",
    )
    limit: int | None = Field(
        None,
        ge=2,
        description="number of pictures to train on, chosen at random (with train.seed) "
        "before the training; null = all pictures",
        json_schema_extra={"unit": "pictures"},
    )
    flip: float = Field(
        0.5,
        ge=0,
        le=1,
        description="probability that a training picture is flipped horizontally",
        json_schema_extra={"unit": "probability"},
    )

    @property
    def channels(self) -> int:
        """The number of channels of a picture."""
        return CHANNELS[self.mode]


class AugmentConfig(Section):
    """Differentiable augmentation of real and generated pictures: DiffAugment, ADA, or both."""

    policy: str = Field(
        "color,translation",
        description="operations, separated by commas, in the order of use: "
        f"{', '.join(AUGMENT_OPS)}; empty = no augmentation. bgc = the operations of "
        "StyleGAN2-ADA; keras = flip, shift, rotation and zoom as in Keras; the rule ada "
        "adapts their probability",
    )
    probability: float = Field(
        1.0,
        ge=0,
        le=1,
        description="probability that a picture gets the operations color, translation and cutout",
        json_schema_extra={"unit": "probability"},
    )
    brightness: float = Field(
        0.5,
        ge=0,
        le=2,
        description="color adds a random number from U(-brightness, brightness) to the "
        "pixels (range -1 to 1)",
    )
    saturation: float = Field(
        1.0,
        ge=0,
        le=1,
        description="color multiplies each pixel's difference from grey by a random factor "
        "from U(1 - saturation, 1 + saturation)",
    )
    contrast: float = Field(
        0.5,
        ge=0,
        le=1,
        description="color multiplies each pixel's difference from the picture's mean by a "
        "random factor from U(1 - contrast, 1 + contrast)",
    )
    translation: float = Field(
        0.125,
        ge=0,
        le=1,
        description="translation shifts a picture by at most this fraction of its side",
        json_schema_extra={"unit": "fraction of the side"},
    )
    cutout: float = Field(
        0.5,
        ge=0,
        le=1,
        description="side of the blank square that cutout draws, as a fraction of the "
        "picture's side",
        json_schema_extra={"unit": "fraction of the side"},
    )
    keras_shift: float = Field(
        0.125,
        ge=0,
        le=1,
        description="keras shifts a picture by at most this fraction of its side",
        json_schema_extra={"unit": "fraction of the side"},
    )
    keras_rotation: float = Field(
        0.125,
        ge=0,
        le=0.5,
        description="keras rotates a picture by at most this fraction of a full turn, in either "
        "direction (0.125 = 45 degrees)",
        json_schema_extra={"unit": "fraction of a turn"},
    )
    keras_zoom: float = Field(
        0.25,
        ge=0,
        lt=1,
        description="keras magnifies a picture: it cuts off at most this fraction of its height "
        "and of its width",
        json_schema_extra={"unit": "fraction of the side"},
    )
    ada: Literal["stylegan2", "keras", "none"] = Field(
        "stylegan2",
        description="rule that adapts p, the probability of the operations bgc and keras; "
        "stylegan2 = the rule of StyleGAN2-ADA; keras = the rule of the Keras example; none = "
        "p does not change",
    )
    ada_p: float = Field(
        0.0,
        ge=0,
        le=1,
        description="p at the start of the training; if ada is none, p during the whole training",
        json_schema_extra={"unit": "probability"},
    )
    ada_max_p: float = Field(
        0.85,
        ge=0,
        le=1,
        description="upper limit of p; with p near 1, the generator learns to make pictures "
        "that look augmented",
        json_schema_extra={"unit": "probability"},
    )
    ada_target: float | None = Field(
        None,
        ge=0,
        le=1,
        description="target of the rule in ada; p rises while the measured value is above "
        "it. stylegan2 measures the mean sign of the discriminator's logits on real pictures "
        "(null = 0.6); keras measures the discriminator's accuracy on real pictures (null = "
        "0.85)",
    )
    ada_kimg: float = Field(
        500.0,
        gt=0,
        description="speed of the rule stylegan2: thousands of images that it needs to raise "
        "p from 0 to 1",
    )
    ada_interval: int = Field(
        4,
        ge=1,
        le=1024,
        description="the rule stylegan2 changes p once in this number of training steps",
        json_schema_extra={"unit": "steps"},
    )
    ada_steps: int = Field(
        1000,
        ge=1,
        le=10_000_000,
        description="speed of the rule keras: in this number of training steps, an accuracy that "
        "differs from the target by 1 changes p by 1",
        json_schema_extra={"unit": "steps"},
    )

    @field_validator("policy")
    @classmethod
    def _known_ops(cls, value: str) -> str:
        ops = policy_ops(value)
        if unknown := unknown_ops(value):
            known = (*AUGMENT_OPS, *REGISTERED_OPS)
            hint = suggestion(unknown[0], known) or "."
            raise ValueError(
                f"must be operations from {', '.join(known)}, separated by commas; "
                f"unknown: {', '.join(unknown)}{hint} {how_to_register(unknown[0])}"
            )
        if len(set(ops)) != len(ops):
            raise ValueError("must name each operation once")
        return value

    @model_validator(mode="after")
    def _p_starts_within_limits(self) -> AugmentConfig:
        if self.ada_p > self.ada_max_p:
            raise ValueError(
                f"ada_p must be at most ada_max_p (got ada_p {self.ada_p:g}, ada_max_p "
                f"{self.ada_max_p:g})"
            )
        return self


class EvalConfig(Section):
    """How the metric is measured (its protocol), and how often."""

    extractor: Literal[
        "inception",
        "inception_pytorch",
        "dinov2_vitb14",
        "dinov2_vitl14",
        "clip_vitb32",
        "efficientnet_lite0",
        "none",
    ] = Field(
        "inception",
        description="network that computes the features for the metric: inception = for FID "
        "and KID; inception_pytorch = its PyTorch port; dinov2_vitl14 = for FD_DINOv2; "
        "efficientnet_lite0 = comes with the package and needs no download; none = measure "
        "nothing, only draw pictures",
    )
    metric: Literal["fd", "kd", "precision", "recall", "density", "coverage"] = Field(
        "fd",
        description="metric that chooses the best checkpoints of a run: fd = Frechet distance (FID "
        "on Inception); kd = kernel distance (KID on Inception); a search or an ablation sets it "
        "to the metric of its file",
    )
    num_fakes: int = Field(
        5000,
        ge=2,
        le=1_000_000,
        description="number of generated pictures in each evaluation",
        json_schema_extra={"unit": "pictures"},
    )
    early_fakes: int | None = Field(
        None,
        ge=2,
        description="number of generated pictures in each evaluation before the last one, to "
        "save time; the names of these metrics begin with early/; null = num_fakes",
        json_schema_extra={"unit": "pictures"},
    )
    mirrored_reference: bool = Field(
        False,
        description="true = compare generated pictures with the real pictures and their "
        "mirror images; false = with the real pictures only",
    )
    every_kimg: float = Field(
        40.0, gt=0, description="thousands of images from one evaluation to the next"
    )
    batch_size: int = Field(
        32,
        ge=1,
        le=4096,
        description="number of pictures in a batch of the evaluation; the metrics do not "
        "depend on it",
        json_schema_extra={"unit": "pictures"},
    )
    seed: int = Field(
        0,
        ge=0,
        lt=2**31,
        description="seed of the latents from which the pictures of evaluations are generated",
    )
    probe_steps: int = Field(
        0,
        ge=0,
        description="training steps (batch size 8) of the decoder that measures "
        "d_reconstruction at the end of the run: a new decoder (width: model.decoder_width) "
        "learns to reconstruct the pictures from the features of the frozen discriminator; 0 "
        "= do not measure it",
        json_schema_extra={"unit": "steps"},
    )

    @model_validator(mode="after")
    def _early_is_cheaper(self) -> EvalConfig:
        if self.early_fakes is not None and self.early_fakes > self.num_fakes:
            raise ValueError(
                "early_fakes must be at most num_fakes "
                f"(got early_fakes {self.early_fakes}, num_fakes {self.num_fakes})"
            )
        return self


class ResourcesConfig(Section):
    """The CPU cores, GPUs and processes that one trial uses."""

    workers: int = Field(
        1,
        ge=1,
        le=1024,
        description="number of processes (workers) that train one generator; each worker gets "
        "an equal part of train.batch_size",
        json_schema_extra={"unit": "processes"},
    )
    cpus: float = Field(
        1.0,
        gt=0,
        description="number of CPU cores for each worker; a worker uses as many threads",
        json_schema_extra={"unit": "cores"},
    )
    gpus: float | None = Field(
        None,
        ge=0,
        description="number of GPUs of each worker; with one worker, also a fraction such as "
        "0.5. null = with one worker, a fraction estimated from the memory that the training "
        "needs; with several workers, one GPU for each",
        json_schema_extra={"unit": "GPUs"},
    )
    backend: Literal["auto", "flat", "ray_train"] = Field(
        "auto",
        description="how a trial runs: flat = in one process, started by Ray Tune; ray_train "
        "= in workers of Ray Train, whose start takes about ten seconds longer; auto = "
        "ray_train for several workers, else flat",
    )

    @property
    def nested(self) -> bool:
        """True if Ray Train runs the trial's workers, inside a process of Ray Tune."""
        return self.workers > 1 if self.backend == "auto" else self.backend == "ray_train"

    @model_validator(mode="after")
    def _workers_go_together(self) -> ResourcesConfig:
        if self.backend == "flat" and self.workers > 1:
            raise ValueError(
                f"backend flat has one process, but workers is {self.workers}: use backend auto"
            )
        if self.workers > 1 and self.gpus not in (None, 0, 1):
            raise ValueError(
                "gpus must be null, 0 or 1 with several workers: workers cannot share a GPU "
                f"(got gpus {self.gpus:g}, workers {self.workers})"
            )
        return self


class RunConfig(Section):
    """One training run. `RunConfig.model_validate({})` is the published FastGAN at 256 px."""

    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    augment: AugmentConfig = AugmentConfig()
    train: TrainConfig = TrainConfig()
    regan: ReganConfig = ReganConfig()
    eval: EvalConfig = EvalConfig()
    resources: ResourcesConfig = ResourcesConfig()

    @classmethod
    def unknown_key(cls, key: str) -> str:
        """Return the message for a dotted key that is not a setting; suggest a similar setting."""
        if hint := OTHER_NAMES.get(key.rpartition(".")[2].lower().replace("-", "_")):
            return f"is not a known setting; {hint}"
        sections = () if "." in key else SECTIONS
        return "is not a known setting" + suggestion(key, (*sections, *field_names()))

    @model_validator(mode="before")
    @classmethod
    def _nested(cls, data: Any) -> Any:  # noqa: ANN401 - checked by pydantic
        """Accept settings as nested sections, as dotted keys, or as a mixture."""
        return nest(flatten(data)) if isinstance(data, dict) else data

    @field_validator("train")
    @classmethod
    def _has_blocks(cls, value: TrainConfig, info: ValidationInfo) -> TrainConfig:
        model: ModelConfig | None = info.data.get("model")  # None if not valid
        if value.gradient_checkpointing and model and model.architecture != "fastgan":
            raise ValueError(
                "gradient_checkpointing must be false unless model.architecture is "
                f"fastgan (got architecture {model.architecture})"
            )
        return value

    @field_validator("train")
    @classmethod
    def _can_freeze(cls, value: TrainConfig, info: ValidationInfo) -> TrainConfig:
        model: ModelConfig | None = info.data.get("model")  # None if not valid
        if model and value.freeze_d > model.d_blocks:
            raise ValueError(
                f"freeze_d must be at most {model.d_blocks}, the number of blocks of the "
                f"discriminator (got {value.freeze_d})"
            )
        return value

    @field_validator("resources")
    @classmethod
    def _batch_divides(cls, value: ResourcesConfig, info: ValidationInfo) -> ResourcesConfig:
        train: TrainConfig | None = info.data.get("train")  # None if not valid
        if train is not None and value.gpus == 0 and train.device in ("cuda", "mps"):
            raise ValueError(
                f"gpus 0 gives a run no GPU, but train.device is {train.device}: set train.device "
                "to auto or cpu, or gpus to null"
            )
        if train is not None and train.batch_size % value.workers:
            raise ValueError(
                "train.batch_size must be a multiple of workers: each worker gets an "
                f"equal part (got batch_size {train.batch_size}, workers "
                f"{value.workers})"
            )
        return value


SECTIONS = tuple(RunConfig.model_fields)


def nest(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Put flat settings into sections: {"model.ngf": 8} -> {"model": {"ngf": 8}}."""
    nested: dict[str, Any] = {}
    for name, value in settings.items():
        section, dot, field = name.partition(".")
        if not dot:
            nested[section] = value
        elif isinstance(fields := nested.setdefault(section, {}), dict):
            fields[field] = value  # else (`model: 3`) the section fails its check
    return nested


def flatten(sections: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as one flat mapping, {dotted name: value}; replace old names by current ones.

    `sections` may have nested sections, dotted keys, or a mixture.
    """
    flat: dict[str, Any] = {}
    for section, value in sections.items():
        if value is None and section in SECTIONS:
            continue  # the section is empty, e.g. all of its lines are comments
        is_nested = "." not in section and isinstance(value, dict)
        if is_nested and (value or section in SECTIONS):
            flat |= {current_name(f"{section}.{field}"): inner for field, inner in value.items()}
        else:
            flat[current_name(section)] = value
    return flat


@functools.cache
def field_names() -> tuple[str, ...]:
    """List the dotted name of every setting, in the order of the sections."""
    return tuple(flatten(RunConfig().model_dump()))
