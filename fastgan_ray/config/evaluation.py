"""EvalConfig, the section `eval`: metric, feature network, counts, interval, held-out data."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from fastgan_ray.config.section import Section


class EvalConfig(Section):
    """Settings of a run's evaluations: feature network, metric, number of pictures and interval."""

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
        description="network that computes the features for the metric: inception = the network "
        "of FID and KID; inception_pytorch = the same network, converted to PyTorch; "
        "dinov2_vitl14 = the network of FD_DINOv2; efficientnet_lite0 = a network that comes "
        "with the package and needs no download; none = compute no metric, only draw pictures",
    )
    metric: Literal["fd", "kd", "precision", "recall", "density", "coverage"] = Field(
        "fd",
        description="metric that chooses the best checkpoints of a run: fd = Frechet distance "
        "(with inception: FID); kd = kernel distance (with inception: KID). In a search or an "
        "ablation, leave this setting out, because the file's key metric sets it",
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
        description="number of generated pictures in each evaluation except the last one; fewer "
        "pictures save time. null = num_fakes. The metrics of these evaluations have names that "
        "begin with early/",
        json_schema_extra={"unit": "pictures"},
    )
    data: str | None = Field(
        None,
        description="held-out pictures for the metrics: the path of a folder, an archive etc., "
        "as in data.path. Metrics compare generated pictures with these pictures. No picture may "
        "also be in data.path. null = compare with the pictures in data.path, or only with the "
        "held-out part of them if held_out is above 0",
    )
    held_out: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="fraction of the pictures in data.path that the training does not use, "
        "chosen at random by eval.seed. All metrics compare generated pictures with these "
        "held-out pictures, except the metric memorised, which compares them with the training "
        "pictures. 0 = no held-out pictures",
        json_schema_extra={"unit": "fraction of the pictures"},
    )
    picture_px: int | None = Field(
        None,
        ge=8,
        le=2048,
        description="side to which real and generated pictures are resized first, before they "
        "are resized to the input size of the feature network. Details that are lost in the "
        "first resizing do not affect the metric. null = resize them only to the input size",
        json_schema_extra={"unit": "px"},
    )
    mirrored_reference: bool = Field(
        False,
        description="true = compare generated pictures with the real pictures and their mirror "
        "images; false = compare them with the real pictures only",
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
        description="number of steps to train a decoder that measures d_reconstruction at the "
        "end of the run. This new decoder (width: model.decoder_width) learns, with batch size "
        "8, to reconstruct the pictures from the features of the frozen discriminator. 0 = do "
        "not measure d_reconstruction",
        json_schema_extra={"unit": "steps"},
    )

    @model_validator(mode="after")
    def _held_out_once(self) -> EvalConfig:
        if self.data is not None and self.held_out > 0:
            raise ValueError(
                "data and held_out must not both be set, because each of them selects held-out "
                f"pictures; leave one of the two out (got data {self.data}, held_out "
                f"{self.held_out:g})"
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
