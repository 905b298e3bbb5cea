"""The key `early_terminate`: one rule, or a list of rules, that end bad trials early."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import (
    Field,
    PlainValidator,
    TypeAdapter,
    ValidationInfo,
    field_validator,
    model_validator,
)
from typing_extensions import Self

from fastgan_ray.config.messages import format_value
from fastgan_ray.config.rules import broken
from fastgan_ray.counting import counted
from fastgan_ray.search.file.lengths import longest_length
from fastgan_ray.search.file.section import FileSection, Kimg, read_each, read_tagged

ROUNDING = 1e-9  # largest rounding error of kimg, as a share


class _Rule(FileSection):
    first_key: ClassVar[str] = "min_iter"  # the key that sets when the rule can first end a trial

    @property
    def first_kimg(self) -> float:
        """The lowest kimg at which the rule can end a trial."""
        raise NotImplementedError

    def origin(self) -> tuple[str, str]:
        """Return (key, text): the key that sets `first_kimg`, and the value of `first_kimg`."""
        return self.first_key, f"{self.first_kimg:g}"


class _RuleWithTolerance(_Rule):
    tolerance: float = Field(
        0.0,
        ge=0,
        le=10,
        description="the rule ends a trial only if the trial's value is worse than the rule's "
        "limit by more than this number of standard deviations of the difference between two "
        "trainings of one configuration",
    )


class Hyperband(_RuleWithTolerance):
    """Settings of asynchronous successive halving (ASHA, Li et al. 2018) and of Hyperband.

    A rung is a number of kimg at which trials are compared. The first rung is at `min_iter` kimg.
    Each later rung is at `eta` times the kimg of the rung before. At each rung, the best 1/eta of
    the trials continue. All rungs are before `max_iter` kimg, or, if `max_iter` is None, before the
    trial's end.

    With several `brackets` (Hyperband), each trial belongs to one bracket, and each bracket starts
    one rung later than the bracket before.

    Without `revisit`, as in the published ASHA, a trial is compared only once at each rung, so the
    first trials at a rung always continue. With `revisit`, each report of a trial compares it again
    at all rungs that it has passed. The trial ends if, because of better trials, it is no longer
    among the best 1/eta.
    """

    type: Literal["hyperband"] = "hyperband"
    min_iter: Kimg | None = Field(
        None,
        description="kimg at which trials are compared for the first time; must be given unless "
        "max_iter and s are given",
    )
    max_iter: Kimg | None = Field(
        None,
        description="trials are compared only before this kimg; null = until the end of a trial",
    )
    s: int | None = Field(
        None,
        ge=1,
        le=20,
        description="number of comparisons before max_iter. The first comparison is at max_iter "
        "/ eta^s kimg; if s is given, min_iter must be left out",
    )
    eta: float = Field(
        3.0, ge=1.5, le=100, description="at each comparison, the best 1/eta of the trials continue"
    )
    brackets: int = Field(
        1, ge=1, le=20, description="number of brackets of Hyperband; 1 = no brackets (ASHA)"
    )
    revisit: bool = Field(
        True,
        description="true = a trial that has passed a comparison can still be ended later, if "
        "other trials have better values at the same kimg; false = compare each trial only once "
        "at each kimg, as in the published ASHA",
    )
    strict: Literal[False] = Field(
        False,
        description="W&B's key that ends more trials at each comparison. This is not supported, "
        "so only false is allowed",
    )

    @field_validator("strict", mode="before")
    @classmethod
    def _never_strict(cls, value: object) -> object:
        if value is not False:
            raise ValueError(
                "must be false, because the best 1/eta of the trials always continue; remove "
                "this key"
            )
        return value

    @model_validator(mode="after")
    def _has_a_first_rung(self) -> Self:
        if self.min_iter is not None and self.min_iter >= (self.max_iter or math.inf):
            raise broken(
                "must be less than max_iter, because otherwise trials are never compared "
                f"(got {self.min_iter:g}, max_iter {self.max_iter or 0:g})",
                "min_iter",
            )
        if self.s is not None and (self.max_iter is None or self.min_iter is not None):
            raise broken(self._s_rule(), "s")
        if self.s is None and self.min_iter is None:
            example = "max_iter with s" if self.max_iter is None else self._with_s(self.max_iter)
            raise ValueError(
                "needs min_iter, the kimg at which trials are compared for the first time (or "
                f"{example})"
            )
        return self

    def _s_rule(self) -> str:
        """Return the error message for the case that the key `s` does not fit the other keys."""
        if self.min_iter is not None:
            rule = (
                "cannot be combined with min_iter, because each of them sets the kimg of the "
                "first comparison"
            )
            return f"{rule}; leave s out (got s {self.s}, min_iter {self.min_iter:g})"
        comparison = f"max_iter / {self.eta:g}^{self.s} kimg"
        return f"needs the key max_iter, because the first comparison is at {comparison}"

    def _with_s(self, max_iter: float) -> str:
        """Return a part of an error message: an example with `s: 2` and this `max_iter`."""
        first = max_iter / self.eta**2
        kimg = f"{max_iter:g} / {self.eta:g}^2 = {first:.4g} kimg"
        return f"the key s; for example, `s: 2` sets the first comparison to {kimg}"

    @property
    def first_kimg(self) -> float:
        """The kimg of the first comparison."""
        if self.min_iter is not None:
            return self.min_iter
        assert self.max_iter is not None and self.s is not None
        return self.max_iter / self.eta**self.s

    def origin(self) -> tuple[str, str]:
        """Return (key, text): the key that sets `first_kimg`, and the value of `first_kimg`."""
        if self.min_iter is not None:
            return super().origin()
        formula = f"max_iter / eta^s = {self.max_iter:g} / {self.eta:g}^{self.s}"
        return "max_iter", f"{formula} = {self.first_kimg:.4g}"

    def rungs(self, total_kimg: float) -> list[float]:
        """Return the rungs of the first bracket, in kimg; a trial has the length `total_kimg`."""
        end = min(total_kimg, self.max_iter or total_kimg)
        rungs, rung = [], self.first_kimg
        while rung < end * (1 - ROUNDING):
            rungs.append(rung)
            rung *= self.eta
        return rungs

    def describe(self, total_kimg: float) -> str:
        """Return a description of the rule for the user; trials have a length of `total_kimg`."""
        first = f"{self.first_kimg:g}"
        if not self.rungs(total_kimg):
            return (
                f"never, because trials end at {total_kimg:g} kimg, before the first comparison "
                f"at {first} kimg"
            )
        brackets = f", in {self.brackets} brackets" if self.brackets > 1 else ""
        return (
            f"from {first} kimg on, the best 1/{self.eta:g} of the trials continue at each "
            f"comparison{brackets}"
        )


class Median(_RuleWithTolerance):
    """Settings of median stopping (Golovin et al. 2017): trials worse than the median end early.

    A trial is compared at each of its reports from `min_iter` kimg on, if at least `min_trials`
    other trials have reached the same kimg. For each of these other trials, the rule computes the
    mean of all values up to this kimg. The trial ends if its best value so far is worse than the
    median of these means.
    """

    type: Literal["median"] = "median"
    min_iter: Kimg = Field(description="kimg from which trials are compared")
    min_trials: int = Field(
        3,
        ge=1,
        le=1000,
        description="a trial is compared only if at least this number of other trials has "
        "reached the same kimg",
    )

    @property
    def first_kimg(self) -> float:
        """The kimg of the first comparison."""
        return self.min_iter

    def describe(self, total_kimg: float) -> str:
        """Return a description of the rule for the user."""
        return (
            f"from {self.min_iter:g} kimg on, a trial ends if its best value is worse than the "
            "median of the other trials' mean values"
        )


class Patience(_Rule):
    """Settings of the rule that ends a trial whose best value has not improved for `kimg` kimg."""

    first_key: ClassVar[str] = "kimg"

    type: Literal["patience"] = "patience"
    kimg: Kimg = Field(
        description="a trial ends if its best value does not improve for this number of kimg "
        "(thousands of images)"
    )
    tolerance: float = Field(
        0.0,
        ge=0,
        le=10,
        description="the rule does not end a trial at a value that is worse than the trial's best "
        "value by at most this number of standard errors of the value",
    )

    @property
    def first_kimg(self) -> float:
        """The earliest kimg at which a trial can end."""
        return self.kimg

    def describe(self, total_kimg: float) -> str:
        """Return a description of the rule for the user."""
        return f"a trial ends after {self.kimg:g} kimg without improvement"


class Chance(_Rule):
    """Settings of the rule that stops a trial if it is unlikely to become one of the best.

    A Gaussian process predicts the final value of each trial from the learning curves of all
    trials. If early values say little about final values, as on some data sets, no trial is
    stopped.
    """

    type: Literal["chance"] = "chance"
    probability: float = Field(
        0.01,
        gt=0,
        le=0.5,
        description="a trial is stopped if its probability to become one of the best is below this "
        "number",
    )
    best: float = Field(
        0.1,
        gt=0,
        le=0.5,
        description="the share of all trials that counts as the best; if this is less than one "
        "trial, the best trial",
    )
    min_iter: Kimg | None = Field(
        None, description="kimg before which no trial is stopped; null = no such limit"
    )
    min_trials: int = Field(
        3,
        ge=1,
        le=1000,
        description="no trial is stopped before this number of trials has finished",
    )

    @property
    def first_kimg(self) -> float:
        """The kimg at which the rule can first end a trial."""
        return self.min_iter or 0.0

    def describe(self, total_kimg: float) -> str:
        """Return a description of the rule for the user."""
        start = f"from {self.min_iter:g} kimg, " if self.min_iter else ""
        return (
            f"{start}a trial ends if its chance to end among the best {self.best:.0%} is below "
            f"{self.probability:.0%}, once {counted(self.min_trials, 'trial')} reached the end"
        )


Rule: TypeAlias = Hyperband | Median | Patience | Chance
_RULE: TypeAdapter[Rule] = TypeAdapter(Annotated[Rule, Field(discriminator="type")])


def _read_rules(value: object, info: ValidationInfo) -> tuple[Rule, ...]:

    def read(_: int, entry: object) -> Rule:
        if not isinstance(entry, dict):
            example = "{type: hyperband, min_iter: 40, eta: 3}"
            raise broken(f"must be a mapping such as {example} (got {format_value(entry)})")
        tag = str(entry.get("type"))
        rule, total_kimg = read_tagged(_RULE, entry, tag), longest_length(info)
        if total_kimg is not None and rule.first_kimg >= total_kimg:
            key, text = rule.origin()
            raise broken(
                "must be less than train.total_kimg, because otherwise the rule never ends a "
                f"trial (got {text}, total_kimg {total_kimg:g})",
                key,
            )
        return rule

    if value is None:
        return ()
    if isinstance(value, list):
        return tuple(read_each(dict(enumerate(value)), read).values())
    return (read(0, value),)


StoppingRules: TypeAlias = Annotated[
    tuple[Rule, ...],
    PlainValidator(_read_rules, json_schema_input_type=Rule | list[Rule] | None),
]
