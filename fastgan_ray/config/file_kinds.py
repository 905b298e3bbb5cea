"""Recognise the kind of a YAML file by its keys: run configuration, search or ablation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from fastgan_ray.config.run_config import SECTIONS
from fastgan_ray.config.strict_yaml import Document, parse, read_text
from fastgan_ray.errors import UserError

Kind = Literal["run", "search", "ablation"]

DESCRIPTIONS: dict[Kind, str] = {
    "run": "the configuration of one training",
    "search": "a search",
    "ablation": "an ablation",
}
COMMANDS: dict[Kind, str] = {"run": "train", "search": "tune", "ablation": "ablate"}
# For each kind of file, the keys that only this kind has.
SEARCH_KEYS = ("parameters", "method")
ABLATION_KEYS = ("arms", "baseline")


# A file with these keys holds results, e.g. summary.json of a search.
RESULT_KEYS = {"trials", "metric", "name"}


def kind_of(data: Mapping[str, Any]) -> Kind | None:
    """Return the kind of a file with the content `data`; None if its keys do not show the kind."""
    is_search = any(key in data for key in SEARCH_KEYS)
    is_ablation = any(key in data for key in ABLATION_KEYS)
    if is_search != is_ablation:
        return "search" if is_search else "ablation"
    is_run = bool(data) and {key.partition(".")[0] for key in data} <= {*SECTIONS}
    return "run" if is_run else None


def kind_of_file(path: str | Path) -> Kind | None:
    """Return the kind of a YAML file; None if its keys do not show the kind."""
    return kind_of(parse(read_text(path), str(path)).data)


def require_kind(document: Document, kind: Kind) -> None:
    """Raise UserError if the keys of a file show that it is not of this `kind`.

    If the file is of another kind, the message names the command that accepts the file. If its keys
    do not show the kind, the file is accepted. A file with results is not accepted.
    """
    actual, name = kind_of(document.data), document.errors.name
    if document.data.keys() >= RESULT_KEYS:
        raise UserError(
            f"{name}: contains the results of a run; give the YAML file that started this run"
        )
    if actual in (None, kind):
        return
    assert actual is not None
    raise UserError(
        f"{name}: is {DESCRIPTIONS[actual]}, but this command needs {DESCRIPTIONS[kind]}; use: "
        f"fastgan-ray {COMMANDS[actual]} --config {name}"
    )
