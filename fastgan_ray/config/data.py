"""DataConfig: which pictures a run trains on, and how they are read."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from fastgan_ray.config.section import Section

Mode = Literal["rgb", "grey", "rgba"]
# The number of channels of a picture.
CHANNELS: dict[Mode, int] = {"grey": 1, "rgb": 3, "rgba": 4}


class DataConfig(Section):
    """The training pictures: their path, their colours, and how they are fitted to the network."""

    path: str | None = Field(
        None,
        description="the pictures: a folder, an archive (.zip, .tar), a .npy file, an LMDB folder, "
        "or a name that `fastgan-ray data` lists",
    )
    fit: Literal["squash", "crop", "pad"] = Field(
        "squash",
        description="how a picture gets the aspect ratio model.aspect (by default, it becomes "
        "square): squash = stretch it (published); crop = cut off the edges; pad = add a border",
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
        "With mode rgba the border is transparent; feature networks, which need three colours, see "
        "the pictures on this background",
    )
    on_bad_image: Literal["error", "skip"] = Field(
        "error",
        description="what to do if files cannot be read: error = stop and list the files; "
        "skip = train without them",
    )
    frames: Literal["first", "all"] = Field(
        "first",
        description="which pages or frames of a file are used (TIFF, GIF, WebP, animated PNG, "
        "AVIF): first = only the first; all = each one as a picture",
    )
    boxes: str | None = Field(
        None,
        description="CSV file with a box for each picture (columns name, x, y, width, height, in "
        "pixels): each picture is cropped to the square around its box, and files without a box "
        "are treated as on_bad_image says; null = whole pictures",
    )
    padding: float = Field(
        0.25,
        ge=0,
        le=10,
        description="the side of the square around a box is (1 + padding) x the longer side of "
        "the box; used only with boxes",
        json_schema_extra={"unit": "fraction of the box"},
    )
    limit: float | None = Field(
        None,
        gt=0,
        description="how many pictures to train on: a whole number of at least 2, or a fraction "
        "below 1; they are chosen at random (by train.seed) before the training. null = all "
        "pictures",
        json_schema_extra={"unit": "pictures, or fraction of the pictures"},
    )
    flip: float = Field(
        0.5,
        ge=0,
        le=1,
        description="probability that a training picture is flipped horizontally",
        json_schema_extra={"unit": "probability"},
    )

    @field_validator("limit")
    @classmethod
    def _number_or_share(cls, value: float | None) -> float | None:
        if value is None or value < 1:
            return value
        if value < 2 or value != int(value):
            raise ValueError("must be a whole number of at least 2, or a fraction below 1")
        return int(value)

    def limited(self, count: int) -> int:
        """Return how many of `count` pictures to train on."""
        if self.limit is None:
            return count
        return min(count, round(self.limit * count) if self.limit < 1 else int(self.limit))

    @property
    def channels(self) -> int:
        """The number of channels of a picture."""
        return CHANNELS[self.mode]
