"""EvalConfig: how and how often a run is measured."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from fastgan_ray.config.section import Section


class EvalConfig(Section):
    """How the run is measured: feature network, metric, number of pictures, and how often."""

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
        description="metric that chooses the best checkpoints of a run: fd = Frechet distance "
        "(with inception: FID); kd = kernel distance (with inception: KID). In a search or an "
        "ablation, the metric of its file replaces this setting",
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
        description="number of generated pictures in each evaluation except the last, to save "
        "time; null = num_fakes. The metrics of these evaluations have names that begin with "
        "early/",
        json_schema_extra={"unit": "pictures"},
    )
    data: str | None = Field(
        None,
        description="held-out pictures that metrics compare with: the path of a folder, an "
        "archive etc., as in data.path; they must not be in data.path. null = compare with the "
        "pictures in data.path, or with the fraction held_out of them",
    )
    held_out: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="fraction of the pictures in data.path, chosen by eval.seed, that the "
        "training does not use. All metrics compare with these pictures, except memorised, which "
        "compares with the training pictures; 0 = compare with all pictures",
        json_schema_extra={"unit": "fraction of the pictures"},
    )
    picture_px: int | None = Field(
        None,
        ge=8,
        le=2048,
        description="first resize real and generated pictures to this side, and then to the input "
        "size of the feature network, so that smaller details do not count; null = resize them "
        "only to the input size",
        json_schema_extra={"unit": "px"},
    )
    mirrored_reference: bool = Field(
        False,
        description="true = compare generated pictures with the real pictures and their "
        "mirror images; false = with the real pictures only",
    )
    every_kimg: float = Field(
        40.0, gt=0, description="interval between two evaluations, in thousands of training images"
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
        description="seed of the latents that evaluations generate pictures from",
    )
    probe_steps: int = Field(
        0,
        ge=0,
        description="number of training steps (batch size 8) to measure d_reconstruction at the "
        "end of the run: a new decoder (width: model.decoder_width) learns to reconstruct the "
        "pictures from the features of the frozen discriminator. 0 = do not measure "
        "d_reconstruction",
        json_schema_extra={"unit": "steps"},
    )

    @model_validator(mode="after")
    def _held_out_once(self) -> EvalConfig:
        if self.data is not None and self.held_out > 0:
            raise ValueError(
                "data and held_out both name held-out pictures; leave one of the two out (got data "
                f"{self.data}, held_out {self.held_out:g})"
            )
        return self

    @model_validator(mode="after")
    def _early_is_cheaper(self) -> EvalConfig:
        if self.early_fakes is not None and self.early_fakes > self.num_fakes:
            raise ValueError(
                "early_fakes must be at most num_fakes "
                f"(got early_fakes {self.early_fakes}, num_fakes {self.num_fakes})"
            )
        return self
