"""The keys `method` and `sampler`: how a search chooses the settings of its trials."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import PlainValidator, ValidationInfo, WithJsonSchema

from fastgan_ray.config.messages import format_value, suggestion
from fastgan_ray.config.rules import broken

Method = Literal["grid", "random", "bayes"]
# The samplers of each method. The default is the first one, or with several metrics the first one
# that takes several. docs/search.md lists the samplers that learn from trials that were stopped
# early.
SAMPLERS: dict[Method, tuple[str, ...]] = {
    "bayes": ("curves", "tpe", "gp", "cmaes", "nsga2", "nsga3"),
    "random": ("random", "qmc"),
    "grid": (),
}
SINGLE = ("cmaes", "curves")  # samplers that take only one metric


def _read_sampler(value: object, info: ValidationInfo) -> str:
    """Return the sampler's name; if the file names none, the default of the method."""
    method: Method | None = info.data.get("method")
    if method is None:  # the method is not valid
        return ""
    known, several = SAMPLERS[method], len(info.data.get("metric", ())) > 1
    if value is None:
        return next((name for name in known if not (several and name in SINGLE)), "")
    if value not in known:
        rule = f"must be one of the samplers of method {method}: {', '.join(known)}"
        if not known:
            rule = f"must be left out, because method {method} has no samplers"
        raise broken(f"{rule} (got {format_value(value)})" + suggestion(str(value), known))
    if several and value in SINGLE:
        others = ", ".join(name for name in known if name not in SINGLE)
        raise broken(f"{value} supports only one metric; for several metrics, choose {others}")
    return str(value)


Sampler: TypeAlias = Annotated[
    str,
    PlainValidator(_read_sampler),
    WithJsonSchema({"type": "string", "enum": [n for names in SAMPLERS.values() for n in names]}),
]
