"""ResourcesConfig, the section `resources`: the cores, GPUs and processes of a run."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from fastgan_ray.config.section import Section


class ResourcesConfig(Section):
    """The CPU cores, GPUs and processes that one trial uses."""

    workers: int = Field(
        1,
        ge=1,
        le=1024,
        description="number of processes (workers) that together train one generator; each "
        "worker gets an equal part of each batch (train.batch_size)",
        json_schema_extra={"unit": "processes"},
    )
    cpus: float = Field(
        1.0,
        gt=0,
        description="number of CPU cores for each worker; a worker uses this number of threads",
        json_schema_extra={"unit": "cores"},
    )
    gpus: float | None = Field(
        None,
        ge=0,
        description="number of GPUs for each worker. If there is only one worker, this number "
        "may be a fraction, e.g. 0.5. null = a single worker gets a fraction of a GPU, estimated "
        "from the memory that the training needs; several workers get one GPU each",
        json_schema_extra={"unit": "GPUs"},
    )
    backend: Literal["auto", "flat", "ray_train"] = Field(
        "auto",
        description="how a trial runs: flat = in one process of Ray Tune; ray_train = in worker "
        "processes of Ray Train, whose start takes about ten seconds longer; auto = ray_train if "
        "workers is above 1, else flat",
    )

    @property
    def nested(self) -> bool:
        """True if Ray Train runs the trial's workers, inside a process of Ray Tune."""
        return self.workers > 1 if self.backend == "auto" else self.backend == "ray_train"

    @model_validator(mode="after")
    def _workers_go_together(self) -> ResourcesConfig:
        if self.backend == "flat" and self.workers > 1:
            raise ValueError(
                f"backend flat has only one process, but workers is {self.workers}; set backend "
                "to auto"
            )
        if self.workers > 1 and self.gpus not in (None, 0, 1):
            raise ValueError(
                "gpus must be null, 0 or 1 if workers is above 1, because workers cannot share a "
                f"GPU (got gpus {self.gpus:g}, workers {self.workers})"
            )
        return self
