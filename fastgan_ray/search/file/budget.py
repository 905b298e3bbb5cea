"""The keys `budget` and `confirm`: the limits of a search, and the confirmation of its results."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, PlainValidator, ValidationInfo

from fastgan_ray.config.messages import format_value
from fastgan_ray.config.rules import broken
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.search.file.lengths import longest_trial
from fastgan_ray.search.file.points import with_constants
from fastgan_ray.search.file.section import FileSection, context_of
from fastgan_ray.search.space import SearchSpace

LEAST_SEEDS, MAX_SEEDS = 2, 100  # of a confirmation

Limit = Annotated[float, Field(gt=0, le=1e9)]
LEAST_GAIN = 0.5  # percent


COUNTED = ("kimg", "hours", "gpu_hours")  # limits of what trials use


class Confirm(FileSection):
    """The key `confirm`: train the best trials and the default again, with new seeds.

    `seeds` is the largest number: the seeds are trained one after another, and a trial gets no
    further seeds when its verdict is clear.
    """

    top: int = Field(2, ge=1, le=20, description="number of best trials that are trained again")
    seeds: int = Field(
        3,
        ge=LEAST_SEEDS,
        le=MAX_SEEDS,
        description="largest number of new seeds; they are trained one after another, until it is "
        "clear which of the best trials are better than the default",
    )

    def kimg(self, longest: float) -> float:
        """Return the largest kimg of the confirmation; `longest` is the kimg of each training."""
        return (self.top + 1) * self.seeds * longest


class Budget(FileSection):
    """Limits of a search, including its confirmation; None means no limit.

    A budget is true if it limits kimg, hours or GPU hours; these must be counted.
    """

    kimg: Limit | None = Field(
        None,
        description="largest number of training images, in thousands, of all trainings together",
    )
    hours: Limit | None = Field(
        None,
        description="largest number of hours that the search may run, including the hours before "
        "it was resumed",
    )
    gpu_hours: Limit | None = Field(
        None,
        description="largest number of GPU hours of all trials together (GPU hours = hours x "
        "number of GPUs, which may be a fraction)",
    )
    until: Literal["settled"] | None = Field(
        None,
        description="settled = start no further trial when it is expected to improve the result "
        "by less than `least_gain` percent (at the earliest after 6 finished trials)",
    )
    least_gain: float = Field(
        LEAST_GAIN,
        gt=0,
        le=100,
        description="with `until: settled`, the smallest expected improvement, in percent, for "
        "which a further trial starts",
    )

    def __bool__(self) -> bool:
        return any(getattr(self, key) is not None for key in COUNTED)

    def facts(self) -> dict[str, Any]:
        """Return what the budget limits; `least_gain` only with `until`."""
        keys = {key for key in Budget.model_fields if key != "least_gain" or self.until}
        return self.model_dump(include=keys, exclude_none=True)


def _no_single_value(info: ValidationInfo) -> str:
    """Return why the search has no single result that a further trial improves; "" if it has."""
    if len(info.data.get("metric") or ()) > 1:
        return "the search has several metrics"
    if info.data.get("population") is not None:
        return "`population` changes the settings during a trial"
    return ""


def _read_confirm(value: object) -> Confirm | Literal["off"]:
    if value is False:
        return "off"
    if not isinstance(value, dict):
        raise broken(
            f"must be false or a mapping such as {{top: 2, seeds: 3}}, or must be left out (got "
            f"{format_value(value)})"
        )
    return Confirm.model_validate(value)


def check_budget(budget: Budget, info: ValidationInfo) -> Budget:
    """Return `budget`; raise an error if it has no effect or if its limit of kimg is too low.

    The kimg must be enough for the longest possible trial. If the file has the key `confirm`, they
    must be enough for the confirmation, too.
    """
    if not budget and not budget.until:
        raise broken(
            f"needs at least one of {', '.join((*COUNTED, 'until'))}, such as {{hours: 8}}"
        )
    if budget.until and (why := _no_single_value(info)):
        raise broken(f"`settled` needs one value to improve, but {why}", "until")
    if not budget.until and "least_gain" in budget.model_fields_set:
        raise broken("needs `until: settled`, or must be left out", "least_gain")
    context = context_of(info)
    space: SearchSpace | None = info.data.get("parameters")  # None if not valid
    if budget.kimg is None or space is None or context.settings is None:
        return budget
    config, confirm = RunConfig.model_validate(context.settings), info.data.get("confirm")
    space = with_constants(space, context.overrides)
    longest, reserved, and_confirmation = longest_trial(space, config.train.total_kimg), 0.0, ""
    if isinstance(confirm, Confirm):
        reserved = confirm.kimg(longest)
        and_confirmation = f" and {reserved:g} kimg for the confirmation"
    if budget.kimg < longest + reserved:
        raise broken(
            f"must be enough for a trial of {longest:g} kimg{and_confirmation} "
            f"(got {budget.kimg:g})",
            "kimg",
        )
    return budget


Confirmation: TypeAlias = Annotated[
    Confirm | Literal["auto", "off"],
    PlainValidator(_read_confirm, json_schema_input_type=Confirm | Literal[False]),
]
