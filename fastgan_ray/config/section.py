"""The base class of the sections of the settings, of search files and of ablation files."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from fastgan_ray.config.messages import suggestion


class Section(BaseModel):
    """A frozen, strict model: an unknown key, a wrong type or a value out of range is an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, validate_default=True
    )

    @classmethod
    def unknown_key(cls, key: str) -> str:
        """Return the message for an unknown key, with a similar field or a list of all fields."""
        hint = suggestion(key, cls.model_fields) or f"; the keys are {', '.join(cls.model_fields)}"
        return f"is not a known key{hint}"
