"""The presets: search and ablation files that come with the package and have a name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TypedDict

from fastgan_ray.config.file_kinds import kind_of_file
from fastgan_ray.config.messages import suggestion
from fastgan_ray.config.strict_yaml import read_text
from fastgan_ray.errors import UserError
from fastgan_ray.search.file.read import top_comment

_PACKAGE = Path(__file__).parents[2]
# A wheel has the presets inside the package; in a checkout they are beside it.
_FOLDERS = (_PACKAGE / "search_spaces", _PACKAGE.parent / "search_spaces")
_SCHEMA = re.compile(r"(?<=^# yaml-language-server: \$schema=)\S+")
_COST = re.compile(r"^Cost: *(.+?)(?=^\S|\Z)", re.M | re.S)


class Preset(TypedDict):
    """One line of `fastgan-ray presets`; `cost` is "" if the preset's file states no cost."""

    name: str
    kind: str
    description: str
    cost: str


def presets_folder() -> Path:
    """Return the folder that contains the presets and the JSON schemas."""
    return next(folder for folder in _FOLDERS if folder.is_dir())


def preset_names() -> list[str]:
    """List the names of the presets, in alphabetical order."""
    return sorted(path.stem for path in presets_folder().glob("*.yaml"))


def presets() -> list[Preset]:
    """Describe every preset: its kind (search or ablation), its purpose and its cost."""
    return [_describe(preset_path(name)) for name in preset_names()]


def preset_path(name: str) -> Path:
    """Return the file of a preset; raise UserError if no preset has this name."""
    if name not in preset_names():
        hint = suggestion(name, preset_names())
        raise UserError(
            f"{name}: no preset has this name{hint} (`fastgan-ray presets` lists all names)"
        )
    return presets_folder() / f"{name}.yaml"


def preset_copy(name: str) -> str:
    """Return the text of a preset, for a copy in any folder.

    The first line of a preset names the JSON schema for an editor. In the returned text, this line
    has the full path of the schema.
    """
    text = read_text(preset_path(name))
    return _SCHEMA.sub(lambda match: str(presets_folder() / match[0]), text, count=1)


def file_or_preset(path: Path) -> Path:
    """Return the file to read for an argument that is the path of a file or the name of a preset.

    If no file `path` exists, there are three cases:
    - `path` has no folder and no suffix. Return the file of the preset with this name. Raise
      UserError if there is no such preset.
    - `path` is the name of a preset followed by .yaml or .yml. Raise UserError.
    - In all other cases, return `path`. The reader of the file then reports that it is missing.
    """
    if path.is_file():
        return path
    if path.stem in preset_names() and path.suffix in (".yaml", ".yml"):
        raise UserError(
            f"{path}: this file does not exist; to use the preset, give only its name: {path.stem}"
        )
    is_name = not path.suffix and path.name == str(path) and not path.exists()
    return preset_path(path.name) if is_name or str(path) in preset_names() else path


def _describe(path: Path) -> Preset:
    comment, kind = top_comment(read_text(path)), kind_of_file(path)
    assert kind is not None  # a test checks every preset
    cost = _COST.search(comment)
    return {
        "name": path.stem,
        "kind": kind,
        "description": " ".join(comment.partition("\n\n")[0].split()),
        "cost": " ".join(cost[1].split()) if cost else "",
    }
