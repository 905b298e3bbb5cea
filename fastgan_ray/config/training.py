"""TrainConfig, the section `train`: length, losses, optimisers, EMA, seed, device, precision."""

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
    """Settings of the losses, the optimisers and the training loop."""

    NOT_SCHEDULED: ClassVar[dict[str, str]] = {
        "total_kimg": "the length of the training is fixed",
        "log_every_kimg": "the interval between two rows is fixed",
        "chain_start_kimg": "the start of CHAIN is fixed",
        "insgen_queue": "the number of earlier pictures is fixed",
    }
    MAY_REACH_ZERO: ClassVar[frozenset[str]] = frozenset({"lr_g", "lr_d"})

    total_kimg: float = Field(
        400.0,
        gt=0,
        description="length of the training, in thousands of real images that the discriminator "
        "sees (published: 50,000 steps with batches of 8)",
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
        description="number of discriminator steps for each generator step; each discriminator "
        "step uses a new batch",
        json_schema_extra={"unit": "steps"},
    )
    lr_g: float = Field(2e-4, gt=0, lt=1, description="learning rate of Adam for the generator")
    lr_d: float = Field(2e-4, gt=0, lt=1, description="learning rate of Adam for the discriminator")
    beta1: float = Field(
        0.5, ge=0, lt=1, description="decay of Adam's first moment, for both networks"
    )
    beta2: float = Field(
        0.999, ge=0, lt=1, description="decay of Adam's second moment, for both networks"
    )
    loss: Literal[
        "hinge",
        "logistic",
        "least_squares",
        "wasserstein",
        "relativistic",
    ] = Field(
        "hinge",
        description="adversarial loss; relativistic = the loss of R3GAN; use it with r1_gamma "
        "and r2_gamma above 0",
    )
    label_noise: float = Field(
        0.2,
        ge=0,
        le=1,
        description="label smoothing: the discriminator's targets are drawn from "
        "U(1 - label_noise, 1) for real pictures and from U(0, label_noise) for generated ones; "
        "with the loss hinge, its two margins are drawn from U(1 - label_noise, 1). 0 = no "
        "smoothing. This setting has no effect on the losses wasserstein and relativistic",
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
        description="weight of DigGAN's penalty, computed at every step: the difference between "
        "the norm of the discriminator's gradients at real pictures and the norm at generated "
        "pictures (Fang et al. 2022 used weights of 500 to 1000); 0 = off",
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
        description="fraction of the generated pictures in a batch that train the generator: the "
        "pictures with the highest logits are used (Sinha et al. 2020); 1 = use all pictures",
        json_schema_extra={"unit": "fraction"},
    )
    instance_noise: float = Field(
        0.0,
        ge=0,
        description="standard deviation of the Gaussian noise that is added to every real and "
        "generated picture before the discriminator sees it (pixel values are from -1 to 1); 0 = "
        "off",
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
        description="number that is added to CHAIN's probability p in the weight of CHAIN's "
        "penalty, which is chain_weight x (p + chain_min_p); Ni and Koniusz 2024 used 0.1 for "
        "very few pictures",
        json_schema_extra={"unit": "probability"},
    )
    chain_target: float = Field(
        0.5,
        ge=-1,
        le=1,
        description="target of the average sign of the discriminator's logits of real pictures: "
        "CHAIN's probability p rises while the average is above the target, and falls while it "
        "is below",
    )
    chain_start_kimg: float = Field(
        40.0,
        ge=0,
        description="CHAIN's probability p stays 0 for this number of training images, in "
        "thousands (published: 5000 steps with batches of 8)",
    )
    reconstruction: Literal["lpips_vgg", "efficientnet_lite0", "l1", "l2"] = Field(
        "lpips_vgg",
        description="distance between a real picture and its reconstruction, in the loss of the "
        "decoders",
    )
    reconstruction_weight: float = Field(
        8.0,
        ge=0,
        description="weight of the reconstruction loss. The published loss is a sum over a batch "
        "of 8 with weight 1, which equals a mean with weight 8",
    )
    reconstruction_reduction: Literal["mean", "sum"] = Field(
        "mean",
        description="how the reconstruction distances of the pictures in a batch are combined: "
        "mean, or sum (published, with reconstruction_weight 1). With sum, the loss grows with "
        "batch_size",
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
        description="upper limit of the EMA half-life, as a fraction of the number of images "
        "shown so far; 0 = no limit",
        json_schema_extra={"unit": "fraction of the images shown"},
    )
    init_from: str | None = Field(
        None,
        description="where the initial weights come from: the path of a checkpoint, of a run's "
        "folder (its best checkpoint), of an exported folder or of a published .pth file; null = "
        "random weights. The state of the optimisers is not loaded",
    )
    init_networks: Literal["both", "generator", "discriminator"] = Field(
        "both", description="networks that get the weights of init_from"
    )
    init_average: bool = Field(
        True,
        description="true = the generator starts from the moving average of its weights in "
        "init_from; false = it starts from the trained weights themselves. Some published files "
        "have only the trained weights, which are then used",
    )
    init_partial: bool = Field(
        False,
        description="true = copy only the tensors of init_from that have the same name and shape "
        "in the new networks; false = raise an error if the networks in init_from have other "
        "widths, another resolution or other components",
    )
    freeze_d: int = Field(
        0,
        ge=0,
        le=10,
        description="number of the discriminator's blocks whose weights stay as they are in "
        "init_from, counted from the picture (FreezeD, Mo et al. 2020); above 0, init_from must "
        "have a discriminator",
        json_schema_extra={"unit": "blocks"},
    )
    log_every_kimg: float = Field(
        0.0,
        ge=0,
        description="interval between two rows of training numbers, in thousands of images; 0 = "
        "no rows. A row has mean losses, logits, accuracies of the discriminator, gradient "
        "norms, learning rates, p (see augment.ada), speed and memory",
    )
    keep_best: int = Field(
        1,
        ge=0,
        le=100,
        description="number of best checkpoints (by eval.metric) to keep, in addition to the "
        "last checkpoint; 0 = keep only the last. At the end of the training, the best "
        "checkpoint is measured again, on new latents",
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
        description="true = record training steps as CUDA graphs and replay them, which is "
        "faster. The first results are compared with those of ordinary steps. This setting has "
        "an effect only on device cuda",
    )
    gradient_checkpointing: bool = Field(
        False,
        description="true = save memory, but train more slowly: the backward pass computes the "
        "inner feature maps of FastGAN's blocks again, so they are not stored. The gradients "
        "stay the same",
    )

    @property
    def second_views(self) -> int:
        """The number of extra batches, for bCR and zCR, that D sees in each discriminator step."""
        weights = ("bcr_real_weight", "bcr_fake_weight", "zcr_d_weight")
        return sum(self.largest(name) > 0 for name in weights)

    @property
    def uses_near_latents(self) -> bool:
        """True if zCR is on: training steps also generate pictures from perturbed latents."""
        return max(self.largest("zcr_d_weight"), self.largest("zcr_g_weight")) > 0

    @property
    def images_per_step(self) -> int:
        """The number of real images in one training step: a batch for each discriminator step."""
        return self.d_steps * self.batch_size
