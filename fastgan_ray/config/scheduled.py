"""Sections whose numbers may be schedules. Code that reads a section sees plain numbers.

A field holds the value at the start of the training; a private mapping of the section holds the
schedules. In files, dumps and checkpoints the setting is the mapping {from, to, over_kimg, shape}.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import (
    ModelWrapValidatorHandler,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)
from typing_extensions import Self

from fastgan_ray.config.messages import format_value
from fastgan_ray.config.rules import Violation, combine, explain
from fastgan_ray.config.schedule import Schedule, looks_like_schedule
from fastgan_ray.config.section import Section

_NUMBERS = (float, float | None)


class ScheduledSection(Section):
    """A section whose numbers may be schedules, except integers and the fields in NOT_SCHEDULED."""

    # Numbers that must stay the same during a training -> the reason, for the message.
    NOT_SCHEDULED: ClassVar[Mapping[str, str]] = {}
    # Numbers that must be above 0, but may be 0 at the start or at the end of a schedule.
    MAY_REACH_ZERO: ClassVar[frozenset[str]] = frozenset()

    _schedules: dict[str, Schedule] = PrivateAttr(default_factory=dict)

    @property
    def schedules(self) -> Mapping[str, Schedule]:
        """{name of the field: schedule}; empty if every number is constant."""
        return self._schedules

    @classmethod
    def can_be_scheduled(cls, name: str) -> bool:
        """Return True if the field `name` may be a schedule."""
        return cls.model_fields[name].annotation in _NUMBERS and name not in cls.NOT_SCHEDULED

    def largest(self, name: str) -> float:
        """Return the largest value that the number `name` has during the training."""
        schedule = self._schedules.get(name)
        return getattr(self, name) if schedule is None else max(schedule.start, schedule.end)

    def changes(self, *names: str) -> bool:
        """Return True if at least one of the fields `names` is a schedule."""
        return not self._schedules.keys().isdisjoint(names)

    def at(self, kimg: float) -> Self:
        """Return a copy in which each scheduled number has its value at `kimg`.

        The copy keeps the schedules.
        """
        values = {name: schedule.at(kimg) for name, schedule in self._schedules.items()}
        return self.model_copy(update=values) if values else self

    def strongest_until(self, kimg: float) -> Self:
        """Return a copy in which each scheduled number has its largest value up to `kimg`."""
        values = {n: max(s.start, s.at(kimg)) for n, s in self._schedules.items()}
        return self.model_copy(update=values) if values else self

    def after_schedules(self) -> Self:
        """Return a copy without schedules; each scheduled number has its final value."""
        ends = {name: schedule.end for name, schedule in self._schedules.items()}
        section = self.model_copy(update=ends)
        section._schedules = {}
        return section

    @model_validator(mode="wrap")
    @classmethod
    def _read_schedules(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:  # noqa: ANN401
        """Validate a section twice: with the first value and with the last value of each schedule.

        In the returned section, each field has the first value; `_schedules` has the schedules.
        """
        if not isinstance(data, Mapping):
            return handler(data)
        given = {k: v for k, v in data.items() if k in cls.model_fields and looks_like_schedule(v)}
        if not given:
            return handler(data)
        schedules, violations = cls._schedules_in(given)
        constants = {name: value for name, value in data.items() if name not in given}
        violations += cls._violations(constants, schedules, "to")
        try:
            section = handler(constants | cls._values(schedules, "from"))
        except ValidationError as error:
            violations = [*_placed(explain(error, cls), schedules, "from"), *violations]
        if violations:
            raise combine(dict.fromkeys(violations))
        section._schedules = schedules
        for name, schedule in schedules.items():  # 0 instead of the checked number, see `_values`
            object.__setattr__(section, name, schedule.start)
        return section

    @classmethod
    def _schedules_in(cls, given: Mapping[str, Any]) -> tuple[dict[str, Schedule], list[Violation]]:
        """Return the valid schedules in `given`, and the broken rules of the other schedules.

        `given` maps names of fields to schedules as in a file.
        """
        schedules: dict[str, Schedule] = {}
        violations: list[Violation] = []
        for name, value in given.items():
            if not cls.can_be_scheduled(name):
                reason = cls.NOT_SCHEDULED.get(name, "only numbers with decimals can change")
                rule = f"cannot change during a training: {reason} (got {format_value(value)})"
                violations.append(Violation((name,), rule))
                continue
            try:
                schedules[name] = Schedule.model_validate(value)
            except ValidationError as error:
                violations += [rule.below(name) for rule in explain(error, Schedule)]
        return schedules, violations

    @classmethod
    def _values(cls, schedules: Mapping[str, Schedule], end: str) -> dict[str, float]:
        """Return {name: value}: the first or the last value of each schedule, for validation.

        `end` is "from" for the first values, "to" for the last values. If a field in
        MAY_REACH_ZERO has the value 0, a tiny positive number replaces the 0.
        """
        values = {n: s.start if end == "from" else s.end for n, s in schedules.items()}
        tiny = sys.float_info.min
        return {n: tiny if v == 0 and n in cls.MAY_REACH_ZERO else v for n, v in values.items()}

    @classmethod
    def _violations(
        cls, constants: Mapping[str, Any], schedules: Mapping[str, Schedule], end: str
    ) -> list[Violation]:
        """Return the rules that the section breaks at one end of its schedules.

        `end` is "from" or "to". `constants` has the values of the fields without a schedule.
        """
        try:
            cls.model_validate({**constants, **cls._values(schedules, end)})
        except ValidationError as error:
            return _placed(explain(error, cls), schedules, end)
        return []

    @model_serializer(mode="wrap")
    def _dump(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = handler(self)
        forms = {name: schedule.mapping() for name, schedule in self._schedules.items()}
        return fields | {name: form for name, form in forms.items() if name in fields}


def _placed(
    violations: list[Violation], schedules: Mapping[str, Schedule], end: str
) -> list[Violation]:
    """Return `violations`, with `end` added to the paths of scheduled fields: lr_g -> lr_g.to.

    `end` is "from" or "to", a key of a schedule.
    """
    return [
        Violation((*loc, end), rule) if loc and loc[0] in schedules else Violation(loc, rule)
        for loc, rule in violations
    ]
