"""A schedule: a setting that changes during a training by a shape (linear, log, cosine)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator

from fastgan_ray.config.section import Section

KEYS = ("from", "to", "over_kimg", "shape")


class Schedule(Section):
    """A number that changes from `start` to `end` within `over_kimg` kimg, then stays at `end`."""

    model_config = ConfigDict(validate_by_alias=True, validate_by_name=False)

    start: float = Field(alias="from", description="value at the start of the training")
    end: float = Field(alias="to", description="value from over_kimg until the end of the training")
    over_kimg: float = Field(
        gt=0,
        description="length of the change, in thousands of real images that the discriminator sees",
    )
    shape: Literal["cosine", "linear", "log"] = Field(
        description="how the value changes: linear = by equal differences; log = by equal "
        "factors; cosine = along half a cosine wave, slowly at both ends",
    )

    @classmethod
    def unknown_key(cls, key: str) -> str:
        """Return the message for a key that a schedule does not have."""
        return f"is not a key of a schedule; the keys are {', '.join(KEYS)}"

    @model_validator(mode="after")
    def _has_logarithms(self) -> Schedule:
        if self.shape == "log" and min(self.start, self.end) <= 0:
            raise ValueError(
                f"from and to must be greater than 0 if shape is log (got from {self.start:g}, to "
                f"{self.end:g})"
            )
        return self

    def at(self, kimg: float) -> float:
        """Return the value after `kimg` thousand images.

        With s = min(kimg / over_kimg, 1), from = a and to = b, the value is
        - linear: a + (b - a) s,
        - cosine: a + (b - a) (1 - cos(pi s)) / 2 (Loshchilov & Hutter 2017 without restarts),
        - log: a (b / a)^s.
        It is never outside the range from a to b.
        """
        share = min(max(kimg / self.over_kimg, 0.0), 1.0)
        if share == 1.0:
            return self.end
        if self.shape == "log":
            low, high = math.log(self.start), math.log(self.end)
            value = math.exp(low + (high - low) * share) if share else self.start
        else:
            moved = share if self.shape == "linear" else (1 - math.cos(math.pi * share)) / 2
            value = self.start + (self.end - self.start) * moved
        return min(max(value, min(self.start, self.end)), max(self.start, self.end))

    def mapping(self) -> dict[str, Any]:
        """Return the schedule in the form that files use: {from, to, over_kimg, shape}."""
        return dict(zip(KEYS, (self.start, self.end, self.over_kimg, self.shape), strict=True))


def looks_like_schedule(value: object) -> bool:
    """Return True if `value` is a mapping with at least one key of a schedule (see KEYS)."""
    return isinstance(value, Mapping) and bool(value.keys() & {*KEYS})


def as_text(value: Any) -> Any:  # noqa: ANN401 - any setting
    """Format schedules for tables and charts, e.g. "0.0002 to 0 (cosine, 400 kimg)".

    If `value` is one schedule (a mapping, as in a file), return its text. If `value` is another
    mapping, return it with all schedules in it as text, at any depth. Return any other value
    unchanged.
    """
    if not isinstance(value, Mapping):
        return value
    if value.keys() != set(KEYS):
        return {name: as_text(inner) for name, inner in value.items()}
    start, end, length = (f"{value[key]:g}" for key in KEYS[:3])
    return f"{start} to {end} ({value['shape']}, {length} kimg)"
