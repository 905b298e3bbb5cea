"""`method` and `sampler`: how a search chooses the points that it tries."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import PlainValidator, ValidationInfo, WithJsonSchema

from fastgan_ray.config.rules import broken
from fastgan_ray.config.strict_yaml import format_value, suggestion

Method = Literal["grid", "random", "bayes"]
# By method, the default first. Which of them learn from trials that were stopped early, and which
# take one metric only, is in docs/search.md.
SAMPLERS: dict[Method, tuple[str, ...]] = {
    "bayes": ("tpe", "gp", "cmaes", "nsga2", "nsga3"),
    "random": ("random", "qmc"),
    "grid": (),
}
SINGLE = ("cmaes",)  # samplers that take one metric


def _read_sampler(value: object, info: ValidationInfo) -> str:
    """The sampler of the method; the method's first if the file has none."""
    method: Method | None = info.data.get("method")
    if method is None:  # it has errors itself
        return ""
    known = SAMPLERS[method]
    if value is None:
        return next(iter(known), "")
    if value not in known:
        names = ", ".join(known) or "none: leave it out"
        raise broken(
            f"must be one of the samplers of method {method}: {names} (got {format_value(value)})"
            + suggestion(str(value), known)
        )
    if len(info.data.get("metric", ())) > 1 and value in SINGLE:
        several = ", ".join(name for name in known if name not in SINGLE)
        raise broken(f"{value} takes one metric; for several choose {several}")
    return str(value)


Sampler: TypeAlias = Annotated[
    str,
    PlainValidator(_read_sampler),
    WithJsonSchema({"type": "string", "enum": [n for names in SAMPLERS.values() for n in names]}),
]
