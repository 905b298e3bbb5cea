"""Models of the entries of `parameters`: one model per kind of distribution, with W&B's keys."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias, get_args

from pydantic import Field, field_validator, model_validator
from typing_extensions import Self

from fastgan_ray.config.messages import format_value, suggestion
from fastgan_ray.config.rules import broken
from fastgan_ray.search.file.section import FileSection, Number
from fastgan_ray.search.space import Condition, Distribution, Parameter, same

KEYS = ("value", "values", "probabilities", "distribution", "min", "max", "q", "when")
MAX_STEPS = 1e9

Bound = Annotated[Number, Field(ge=-1e15, le=1e15)]  # floats lose digits of larger integers
WholeBound = Annotated[int, Field(ge=-(10**15), le=10**15)]


class Entry(FileSection):
    """An entry of `parameters`: the values that one searched setting may have."""

    distribution: Distribution
    when: dict[str, Any] = Field(
        {},
        min_length=1,
        description="condition: the parameter is searched only if other parameters have these "
        "values, e.g. {train.loss: logistic}",
    )

    @classmethod
    def unknown_key(cls, key: str) -> str:
        """Return the message for a key that is unknown, or that belongs to another distribution."""
        if key in KEYS:
            names = get_args(cls.model_fields["distribution"].annotation)
            return f"cannot be used with distribution {' or '.join(names)}"
        hint = suggestion(key, KEYS) or f"; the keys are {', '.join(KEYS)}"
        return f"is not a key of a parameter{hint}"


class Constant(Entry):
    """The distribution constant: one fixed value."""

    distribution: Literal["constant"] = "constant"
    value: Any = Field(description="the value in every trial")


class Categorical(Entry):
    """The distribution categorical: one of several listed values."""

    distribution: Literal["categorical"] = "categorical"
    values: list[Any] = Field(
        min_length=1, max_length=1000, description="list of the possible values"
    )
    probabilities: list[Annotated[float, Field(ge=0)]] | None = Field(
        None,
        description="probability of each value, in the order of values; the sum must be 1; "
        "only for method random",
    )

    @field_validator("values")
    @classmethod
    def _differ(cls, values: list[Any]) -> list[Any]:
        for index, value in enumerate(values):
            if any(same(value, other) for other in values[:index]):
                raise broken(f"must all be different (got {format_value(value)} twice)")
        return values

    @model_validator(mode="after")
    def _has_a_probability_for_each(self) -> Self:
        weights = self.probabilities
        if weights is not None and (
            len(weights) != len(self.values) or not math.isclose(sum(weights), 1, abs_tol=1e-6)
        ):
            rule = f"must be {len(self.values)} numbers, one for each value, with the sum 1"
            raise broken(f"{rule} (got {format_value(weights)})", "probabilities")
        return self


class Range(Entry):
    """The base of all distributions of numbers from min to max."""

    min: Bound = Field(description="smallest value")
    max: Bound = Field(description="greatest value")

    @model_validator(mode="after")
    def _has_values(self) -> Self:
        low, high = format_value(self.min), format_value(self.max)
        if self.min > self.max:
            raise broken(f"min must be at most max (got min {low}, max {high})")
        if "log" in self.distribution and self.min <= 0:
            raise broken(f"must be greater than 0 for {self.distribution} (got {low})", "min")
        return self


class IntUniform(Range):
    """The distribution int_uniform: whole numbers from min to max, all equally likely."""

    distribution: Literal["int_uniform"] = "int_uniform"
    min: WholeBound = Field(description="smallest value")
    max: WholeBound = Field(description="greatest value")


class Uniform(Range):
    """Numbers from min to max, evenly distributed on a linear or a logarithmic scale."""

    distribution: Literal["uniform", "log_uniform_values"] = "uniform"


class QUniform(Range):
    """Multiples of q from min to max, evenly distributed on a linear or a logarithmic scale."""

    distribution: Literal["q_uniform", "q_log_uniform_values"] = "q_uniform"
    q: Number = Field(1, gt=0, description="values are multiples of q")

    @model_validator(mode="after")
    def _has_steps(self) -> Self:
        if max(abs(self.min), abs(self.max)) / self.q > MAX_STEPS:
            raise broken(
                f"is too small: min and max must be at most {MAX_STEPS:g} times q (got "
                f"{format_value(self.q)})",
                "q",
            )
        if not to_parameter("", self, ()).steps:
            got = ", ".join(
                f"{key} {format_value(getattr(self, key))}" for key in ("q", "min", "max")
            )
            raise broken(f"no multiple of q lies between min and max (got {got})")
        return self


def distribution_of(entry: Mapping[str, Any]) -> str:
    """Return the name of an entry's distribution.

    If the entry has no key `distribution`, the other keys determine it, as in W&B.
    """
    if "distribution" in entry:
        return str(entry["distribution"])
    if "value" in entry:
        return "constant"
    if "values" in entry:
        return "categorical"
    if "q" in entry:
        return "q_uniform"
    whole = all(type(entry.get(bound, 0)) is int for bound in ("min", "max"))
    return "int_uniform" if whole else "uniform"


AnyEntry: TypeAlias = Annotated[
    Constant | Categorical | IntUniform | Uniform | QUniform, Field(discriminator="distribution")
]


def to_parameter(name: str, entry: Entry, when: tuple[Condition, ...]) -> Parameter:
    """Convert an entry to the searched parameter `name`, which has the conditions `when`."""
    if isinstance(entry, Constant):
        return Parameter(name, entry.distribution, (entry.value,), when=when)
    if isinstance(entry, Categorical):
        weights = None if entry.probabilities is None else tuple(entry.probabilities)
        return Parameter(name, entry.distribution, tuple(entry.values), weights, when=when)
    assert isinstance(entry, Range)
    q = entry.q if isinstance(entry, QUniform) else int(isinstance(entry, IntUniform))
    return Parameter(name, entry.distribution, low=entry.min, high=entry.max, q=q, when=when)
