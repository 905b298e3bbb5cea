"""TrainConfig: losses, optimisers and length of a training."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from pydantic import Field

from fastgan_ray.config import consistency_fields, frequency_fields, task_fields
from fastgan_ray.config.scheduled import ScheduledSection

# The published decay, .999 for each step of 8 images, converted to a half-life in kimg.
PUBLISHED_EMA_HALFLIFE_KIMG = 8 * math.log(0.5) / math.log(0.999) / 1000
# With `precision: auto`, a CPU that has bfloat16 instructions uses bfloat16 from this resolution
# on. This doubles the speed at 256 px, but not at 64 px (docs/findings.md).
CPU_BF16_FROM_PX = 128


class TrainConfig(ScheduledSection):
    """Losses, optimisers and length of a training."""

    NOT_SCHEDULED: ClassVar[dict[str, str]] = {
        "total_kimg": "it is the length of the training",
        "log_every_kimg": "it is an interval",
        "chain_start_kimg": "it is a point in time",
        "insgen_queue": "it is a size of memory",
    }
    MAY_REACH_ZERO: ClassVar[frozenset[str]] = frozenset({"lr_g", "lr_d"})

    total_kimg: float = Field(
        400.0,
        gt=0,
        description="length of the training, in thousands of real images shown to the "
        "discriminator (published: 50,000 steps with batches of 8)",
    )
    batch_size: int = Field(
        8,
        ge=1,
        le=4096,
        description="number of images in a batch",
        json_schema_extra={"unit": "pictures"},
    )
    d_steps: int = Field(
        1,
        ge=1,
        le=64,
        description="discriminator steps per generator step; each discriminator step uses a "
        "new batch",
        json_schema_extra={"unit": "steps"},
    )
    lr_g: float = Field(2e-4, gt=0, lt=1, description="generator's Adam learning rate")
    lr_d: float = Field(2e-4, gt=0, lt=1, description="discriminator's Adam learning rate")
    beta1: float = Field(0.5, ge=0, lt=1, description="Adam's first-moment decay, both networks")
    beta2: float = Field(0.999, ge=0, lt=1, description="Adam's second-moment decay, both networks")
    loss: Literal["hinge", "logistic", "least_squares", "wasserstein", "relativistic"] = Field(
        "hinge",
        description="adversarial loss; relativistic = the loss of R3GAN, to be used with "
        "r1_gamma and r2_gamma above 0",
    )
    label_noise: float = Field(
        0.2,
        ge=0,
        le=1,
        description="label smoothing: the discriminator's labels (with hinge: its margins) "
        "are drawn from U(1 - label_noise, 1); 0 = all are 1. Has no effect on the losses "
        "wasserstein and relativistic",
    )
    r1_gamma: float = Field(
        0.0,
        ge=0,
        description="weight of R1, the discriminator's gradient penalty on real pictures; 0 = off",
    )
    r2_gamma: float = Field(
        0.0,
        ge=0,
        description="weight of R2, the discriminator's gradient penalty on generated "
        "pictures; 0 = off",
    )
    r1_interval: int = Field(
        16,
        ge=1,
        description="R1 and R2 are computed once in this number of discriminator steps (lazy "
        "regularisation)",
        json_schema_extra={"unit": "steps"},
    )
    gp_weight: float = Field(
        10.0,
        ge=0,
        description="weight of the gradient penalty of the wasserstein loss (WGAN-GP), "
        "computed at every step",
    )
    lecam_weight: float = Field(
        0.0,
        ge=0,
        description="weight of LeCam's penalty, which keeps the discriminator's logits near their "
        "moving averages (Tseng et al. 2021; useful weights are 1e-4 to 1); 0 = off",
    )
    lecam_decay: float = Field(
        0.99,
        ge=0,
        lt=1,
        description="decay of LeCam's moving averages in each discriminator step",
    )
    gradient_gap_weight: float = Field(
        0.0,
        ge=0,
        description="weight of DigGAN's penalty on the difference between the norms of the "
        "discriminator's gradients at real and at generated pictures, computed at every step; 0 = "
        "off (Fang et al. 2022 used weights of 500 to 1000)",
    )
    bcr_real_weight: float = consistency_fields.BCR_REAL_WEIGHT
    bcr_fake_weight: float = consistency_fields.BCR_FAKE_WEIGHT
    zcr_d_weight: float = consistency_fields.ZCR_D_WEIGHT
    zcr_g_weight: float = consistency_fields.ZCR_G_WEIGHT
    zcr_noise: float = consistency_fields.ZCR_NOISE
    mixdl_g_weight: float = consistency_fields.MIXDL_G_WEIGHT
    mixdl_d_weight: float = consistency_fields.MIXDL_D_WEIGHT
    mixdl_interval: int = consistency_fields.MIXDL_INTERVAL
    alignment_weight: float = frequency_fields.ALIGNMENT_WEIGHT
    top_k: float = Field(
        1.0,
        gt=0,
        le=1,
        description="fraction of a batch's generated pictures on which the generator is trained: "
        "those with the highest logits (Sinha et al. 2020); 1 = all",
        json_schema_extra={"unit": "fraction"},
    )
    instance_noise: float = Field(
        0.0,
        ge=0,
        description="standard deviation of the Gaussian noise that is added to all real and "
        "generated pictures (pixels from -1 to 1) for the discriminator; 0 = off",
    )
    chain_weight: float = Field(
        20.0,
        ge=0,
        description="weight of CHAIN's penalty on the means of the discriminator's channels; used "
        "if model.d_norm is chain",
    )
    chain_min_p: float = Field(
        0.0,
        ge=0,
        le=1,
        description="added to CHAIN's probability p in the weight of its penalty; Ni and Koniusz "
        "2024 used 0.1 for very few pictures",
        json_schema_extra={"unit": "probability"},
    )
    chain_target: float = Field(
        0.5,
        ge=-1,
        le=1,
        description="CHAIN's p rises while the average sign of the discriminator's logits of real "
        "pictures is above this number, and falls while it is below",
    )
    chain_start_kimg: float = Field(
        40.0,
        ge=0,
        description="CHAIN's p stays 0 for this number of thousands of images (published: 5000 "
        "steps with batches of 8)",
    )
    reconstruction: Literal["lpips_vgg", "efficientnet_lite0", "l1", "l2"] = Field(
        "lpips_vgg",
        description="distance between a real picture and its reconstruction, in the loss of the "
        "decoders",
    )
    reconstruction_weight: float = Field(
        8.0,
        ge=0,
        description="weight of the reconstruction loss. The published loss is a sum over a "
        "batch of 8, which equals a mean with weight 8",
    )
    reconstruction_reduction: Literal["mean", "sum"] = Field(
        "mean",
        description="how the reconstruction distances of a batch are combined: mean; sum "
        "(published, with reconstruction_weight 1). With sum, the loss grows with batch_size",
    )
    contrastive_weight: float = task_fields.CONTRASTIVE_WEIGHT
    contrastive_temperature: float = task_fields.CONTRASTIVE_TEMPERATURE
    augself_d_weight: float = task_fields.AUGSELF_D_WEIGHT
    augself_g_weight: float = task_fields.AUGSELF_G_WEIGHT
    insgen_d_fake_weight: float = task_fields.INSGEN_D_FAKE_WEIGHT
    insgen_d_real_weight: float = task_fields.INSGEN_D_REAL_WEIGHT
    insgen_g_weight: float = task_fields.INSGEN_G_WEIGHT
    insgen_temperature: float = task_fields.INSGEN_TEMPERATURE
    insgen_momentum: float = task_fields.INSGEN_MOMENTUM
    insgen_noise: float = task_fields.INSGEN_NOISE
    insgen_queue: float = task_fields.INSGEN_QUEUE
    insgen_forgetting: float = task_fields.INSGEN_FORGETTING
    ema_halflife_kimg: float = Field(
        PUBLISHED_EMA_HALFLIFE_KIMG,
        ge=0,
        description="half-life of the moving average (EMA) of the generator's weights, in "
        "thousands of images; 0 = no average",
    )
    ema_rampup: float = Field(
        0.0,
        ge=0,
        description="upper limit of the EMA half-life, as a fraction of the images shown so "
        "far; 0 = no limit",
        json_schema_extra={"unit": "fraction of the images shown"},
    )
    init_from: str | None = Field(
        None,
        description="weights from which the training starts: a checkpoint, the folder of a run "
        "(its best checkpoint), an exported folder or a published .pth file; null = random "
        "weights. The state of the optimisers is not loaded",
    )
    init_networks: Literal["both", "generator", "discriminator"] = Field(
        "both", description="networks that start from the weights of init_from"
    )
    init_average: bool = Field(
        True,
        description="the generator starts from the moving average in init_from; false = from the "
        "trained weights. A published file without an average has only the trained weights",
    )
    init_partial: bool = Field(
        False,
        description="copy only the tensors of init_from that have the same name and shape in the "
        "new networks; false = refuse a source whose widths, resolution or components differ",
    )
    freeze_d: int = Field(
        0,
        ge=0,
        le=10,
        description="number of the discriminator's blocks, counted from the picture, whose weights "
        "stay as in init_from (FreezeD, Mo et al. 2020); needs a discriminator from init_from",
        json_schema_extra={"unit": "blocks"},
    )
    log_every_kimg: float = Field(
        0.0,
        ge=0,
        description="interval between two rows of training numbers, in thousands of images; 0 = no "
        "rows. A row has mean losses, logits, accuracies of the discriminator, gradient norms, "
        "learning rates, p (see augment.ada), speed and memory",
    )
    keep_best: int = Field(
        1,
        ge=0,
        le=100,
        description="number of best checkpoints (by eval.metric) to keep, in addition to the last "
        "one; 0 = keep only the last. At the end, the best checkpoint is measured again, on new "
        "latents",
        json_schema_extra={"unit": "checkpoints"},
    )
    seed: int = Field(0, ge=0, lt=2**31, description="seed of every random choice in the run")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto",
        description="device for the training; auto = the first of cuda, mps and cpu that is "
        "available",
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto",
        description="number format: fp32 = float32, without TF32; bf16 = autocast to "
        "bfloat16; auto = bf16 if the device is faster with it, else float32",
    )
    cuda_graphs: bool = Field(
        True,
        description="record training steps as CUDA graphs and replay them, which is faster; the "
        "first results are compared with ordinary steps. Has no effect on other devices than CUDA",
    )
    gradient_checkpointing: bool = Field(
        False,
        description="save memory at the cost of time: the backward pass computes the inner feature "
        "maps of FastGAN's blocks again instead of storing them. The gradients stay the same",
    )

    @property
    def second_views(self) -> int:
        """The number of extra batches that D sees in each of its steps, for bCR and zCR."""
        weights = ("bcr_real_weight", "bcr_fake_weight", "zcr_d_weight")
        return sum(self.largest(name) > 0 for name in weights)

    @property
    def uses_near_latents(self) -> bool:
        """Whether a step also generates pictures from latents near the batch's latents (zCR)."""
        return max(self.largest("zcr_d_weight"), self.largest("zcr_g_weight")) > 0

    @property
    def images_per_step(self) -> int:
        """The number of real images in one training step: one batch for each discriminator step."""
        return self.d_steps * self.batch_size
