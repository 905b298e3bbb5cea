"""What every section of the settings and of our files has in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from fastgan_ray.config.strict_yaml import suggestion


class Section(BaseModel):
    """Frozen and strict: an unknown key, a wrong type or a value out of range is an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, validate_default=True
    )

    @classmethod
    def unknown_key(cls, key: str) -> str:
        """Return the rule that a key of no field breaks, with the nearest field."""
        hint = suggestion(key, cls.model_fields) or f"; the keys are {', '.join(cls.model_fields)}"
        return f"is not a known key{hint}"
