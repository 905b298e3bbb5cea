"""The key `population`: population-based training, in which bad trials copy good trials."""

from __future__ import annotations

from pydantic import Field, ValidationInfo

from fastgan_ray.config.aliases import current_name
from fastgan_ray.config.messages import format_value
from fastgan_ray.config.rules import Violation, combine
from fastgan_ray.search.file.lengths import longest_length
from fastgan_ray.search.file.section import FileSection, Kimg
from fastgan_ray.search.space import SearchSpace

# Numbers in these sections may change during training, except the settings in `FIXED`: sizes,
# lengths and seeds.
CHANGEABLE = ("train.", "augment.", "regan.")
FIXED = (
    *("train.batch_size", "train.d_steps", "train.total_kimg", "train.seed"),
    "train.insgen_queue",
)


class Population(FileSection):
    """Settings of population-based training: when it compares trials, and which values change."""

    every: Kimg = Field(
        description="interval between two comparisons of the trials, in kimg (thousands of "
        "training images)"
    )
    quantile: float = Field(
        0.25,
        gt=0,
        le=0.5,
        description="at each comparison, this fraction of the trials counts as the worst trials, "
        "and the same fraction counts as the best trials",
    )
    change: list[str] = Field(
        [],
        min_length=1,
        description="list of the parameters that may change during the training. They must be "
        "searched numbers in train, augment or regan; if left out, all of these numbers",
    )

    def describe(self) -> str:
        """Return a description of population-based training for the user."""
        return (
            f"every {self.every:g} kimg, each of the worst {self.quantile:.0%} of the trials "
            f"copies one of the best trials and changes {', '.join(self.change)}"
        )


def changeable(space: SearchSpace) -> list[str]:
    """Return the names of the searched parameters that may change during training.

    A parameter on which another one depends (`when`) may change only if the other one may.
    """
    numbers = [
        parameter.name
        for parameter in space
        if parameter.name.startswith(CHANGEABLE)
        and parameter.name not in FIXED
        and all(isinstance(value, int | float) for value in parameter.values)
        and not any(isinstance(value, bool) for value in parameter.values)
    ]
    while fixed := {
        parent
        for parameter in space
        if parameter.name not in numbers
        for parent, _ in parameter.when
        if parent in numbers
    }:
        numbers = [name for name in numbers if name not in fixed]
    searched = {parameter.name for parameter in space if parameter.size != 1}
    return [name for name in numbers if name in searched]


def check_population(population: Population | None, info: ValidationInfo) -> Population | None:
    """Check `population` against the other keys of the file, and fill in a missing list `change`.

    Without `change`, the list gets all searched numbers that may change during the training (see
    `changeable`). Raise an error if there are no such numbers, or if `change` lists any other
    parameter. Also raise an error if `every` is not less than the length of a trial.
    """
    if population is None:
        return None
    total_kimg = longest_length(info)
    space: SearchSpace | None = info.data.get("parameters")  # None if not valid
    violations = []
    if total_kimg is not None and population.every >= total_kimg:
        rule = f"must be less than train.total_kimg (got {population.every:g}"
        violations.append(Violation(("every",), f"{rule}, total_kimg {total_kimg:g})"))
    if space is not None:
        known = changeable(space)
        change = [current_name(name) for name in population.change] or known
        population = population.model_copy(update={"change": change})
        if not known or not set(change) <= set(known):
            allowed = ", ".join(known) or "none"
            rule = (
                "must list searched numbers that may change during training; in this file, these "
                f"are {allowed} (got {format_value(change)})"
            )
            violations.append(Violation(("change",), rule))
    if violations:
        raise combine(violations)
    return population
