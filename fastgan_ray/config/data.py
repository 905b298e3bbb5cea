"""DataConfig, the section `data`: which pictures a run trains on, and how they are read."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from fastgan_ray.config.section import Section

Mode = Literal["rgb", "grey", "rgba"]
# The number of channels of a picture.
CHANNELS: dict[Mode, int] = {"grey": 1, "rgb": 3, "rgba": 4}


class DataConfig(Section):
    """Settings of the training pictures: where they are, how they are read, and their shape."""

    path: str | None = Field(
        None,
        description="the training pictures: the path of a folder, an archive (.zip, .tar), a "
        ".npy file or an LMDB folder, or the name of a data set that `fastgan-ray data` lists",
    )
    fit: Literal["squash", "crop", "pad"] = Field(
        "squash",
        description="how a picture of another shape gets the aspect ratio model.aspect (by "
        "default, a square): squash = stretch the picture (published); crop = cut off its edges; "
        "pad = add a border",
    )
    mode: Mode = Field(
        "rgb",
        description="colour channels of the training pictures and of the generated pictures: rgb "
        "= three colours; grey = one channel, shades of grey; rgba = three colours and "
        "transparency",
    )
    background: str = Field(
        "#ffffff",
        pattern=r"^#[0-9a-fA-F]{6}$",
        description="colour, as #rrggbb, of transparent pixels and of the border that pad adds. "
        "With mode rgba, pixels can stay transparent, and the border is transparent; only "
        "feature networks, which need three colours, see the pictures on this background",
    )
    on_bad_image: Literal["error", "skip"] = Field(
        "error",
        description="what to do if picture files cannot be read: error = stop and list the "
        "files; skip = train without them",
    )
    frames: Literal["first", "all"] = Field(
        "first",
        description="which frames or pages are used if a file has several (TIFF, GIF, WebP, "
        "animated PNG, AVIF): first = only the first frame or page; all = every frame or page, "
        "as a separate picture",
    )
    boxes: str | None = Field(
        None,
        description="path of a CSV file that has a box for each picture (columns name, x, y, "
        "width, height, in pixels). Each picture is cropped to the square around its box. For "
        "pictures without a box, on_bad_image applies: error = stop; skip = train without them. "
        "null = do not crop to boxes",
    )
    padding: float = Field(
        0.25,
        ge=0,
        le=10,
        description="the side of the square around a box is (1 + padding) x the longer side of "
        "the box; used only with boxes",
        json_schema_extra={"unit": "fraction of the longer side of the box"},
    )
    limit: float | None = Field(
        None,
        gt=0,
        description="number of pictures to train on: a whole number of at least 2, or a number "
        "below 1 for a fraction of the pictures. They are chosen at random (by train.seed) "
        "before the training. null = all pictures",
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
        """Return the number of pictures to train on, out of `count` pictures."""
        if self.limit is None:
            return count
        return min(count, round(self.limit * count) if self.limit < 1 else int(self.limit))

    @property
    def channels(self) -> int:
        """The number of channels of a picture."""
        return CHANNELS[self.mode]
