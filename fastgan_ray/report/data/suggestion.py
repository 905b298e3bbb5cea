"""Suggest the search file of `data --write`, with a reason for every value."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from fastgan_ray.counting import counted
from fastgan_ray.search.file.model import NAME

Facts = dict[str, Any]

CPU_RESOLUTION = 64
_MOSTLY = 0.5


class Choice(NamedTuple):
    """A setting in the suggested file: its dotted key, its value, and the reason for the value."""

    key: str
    value: Any
    reason: str


def choices(
    facts: Facts, path: str, has_gpu: bool, given: Mapping[str, Any] = MappingProxyType({})
) -> list[Choice]:
    """Return the fixed settings of a search that suit the pictures in `facts`.

    `facts` is the result of `picture_facts` with the settings `given` ({dotted name of a setting in
    `data`: value}). `path` is the path of the pictures.
    """
    suggested = [choice for choice in _data_choices(facts, path) if choice.key not in given]
    chosen = [Choice(key, value, "as given with --set") for key, value in given.items()]
    return [*suggested, *chosen, *_model_choices(facts, has_gpu)]


def suggested_file(
    facts: Facts, path: str, has_gpu: bool, given: Mapping[str, Any] = MappingProxyType({})
) -> str:
    """Return the YAML of a search on the pictures in `facts`; its comments give the reasons.

    The arguments are as in `choices`. Without a GPU, the search has smaller networks and
    trainings.
    """
    lines = [
        "# Suggested by `fastgan-ray data`. The comments give the reasons. Change a value if you",
        "# know a better one. `fastgan-ray check` shows the cost of this search.",
        *_search_lines(path, has_gpu),
    ]
    lines.append("base:")
    section = ""
    for choice in choices(facts, path, has_gpu, given):
        name, _, field = choice.key.partition(".")
        if name != section:
            lines.append(f"  {name}:")
            section = name
        lines += [f"    # {line}" for line in _wrapped(choice.reason)]
        lines.append(f"    {field}: {json.dumps(choice.value, ensure_ascii=False)}")
    lines += _CPU_BASE if not has_gpu else _GPU_BASE
    lines += _CPU_PARAMETERS if not has_gpu else _GPU_PARAMETERS
    return "\n".join(lines) + "\n"


def _data_choices(facts: Facts, path: str) -> Iterator[Choice]:
    count, modes = facts["pictures"], facts["modes"]
    yield Choice("data.path", path, f"{counted(count, 'picture')} can be used")
    if facts["unreadable"]:
        reason = f"{counted(len(facts['unreadable']), 'file')} cannot be read; see data.html"
        yield Choice("data.on_bad_image", "skip", reason)
    grey = sum(number for name, number in modes.items() if name.split(",")[0] in _GREY)
    if facts["transparent"] > _MOSTLY * count:
        reason = f"{facts['transparent']} of {counted(count, 'picture')} have transparent parts"
        yield Choice("data.mode", "rgba", reason)
    elif grey == count:
        yield Choice("data.mode", "grey", "all pictures are grey")
    halves = facts["compared"]["halves"]
    if halves and halves["has_direction"]:
        reason = (
            "mirror images look different from your pictures (e.g. text, light from one side), "
            "so a training on them would teach the generator pictures unlike yours"
        )
        yield Choice("data.flip", 0.0, reason)
    elif halves:
        reason = (
            "mirror images look like your pictures, so training on both doubles the number "
            "of pictures"
        )
        yield Choice("data.flip", 0.5, reason)


def _model_choices(facts: Facts, has_gpu: bool) -> Iterator[Choice]:
    resolution, aspect = facts["resolution"], facts["aspect"]
    side = resolution["value"]
    how_many_fit = f"{resolution['share']:.0%} of the pictures are at least as large as {side} px"
    if has_gpu:
        yield Choice("model.resolution", side, how_many_fit)
    else:
        value = min(side, CPU_RESOLUTION)
        reason = (
            f"{how_many_fit}, but without a GPU, a search at more than {CPU_RESOLUTION} px takes "
            "days"
        )
        yield Choice("model.resolution", value, reason if value < side else how_many_fit)
    if aspect["value"] != "1:1":
        reason = f"{aspect['share']:.0%} of the pictures have about these proportions"
        yield Choice("model.aspect", aspect["value"], reason)


def _search_lines(path: str, has_gpu: bool) -> list[str]:
    words = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(path).name.split(".")[0]).strip("-_")
    allowed = re.match(NAME, words)
    name = allowed[0].rstrip("-_") if allowed else "pictures"
    if has_gpu:
        return [
            f"name: {json.dumps(name)}",
            "method: bayes",
            "# The metric is KID, because FID rewards generators that memorise training pictures.",
            "metric: {name: kid, goal: minimize}",
            "run_cap: 16",
            "budget: {until: settled}",
        ]
    return [
        f"name: {json.dumps(name)}",
        "method: bayes",
        "# The metric is the Frechet distance (FD) on the feature network inside the package.",
        "# FD is safe here, because such short trainings do not memorise the training pictures.",
        "metric: {name: fd_efficientnet_lite0, goal: minimize}",
        "run_cap: 14",
        "budget: {until: settled}",
        "confirm: {top: 1, seeds: 3}",
    ]


def _wrapped(text: str, width: int = 92) -> list[str]:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


_GREY = ("black and white", "grey")
_CPU_BASE = [
    "    # Small networks and short trainings, as in the preset own_pictures_cpu; such a search",
    "    # takes 35 to 45 minutes on two CPU cores.",
    "    nz: 128",
    "    decoder_width: 4",
    "  train: {total_kimg: 10, reconstruction: l1}",
    "  eval: {extractor: efficientnet_lite0, num_fakes: 256, every_kimg: 1}",
]
_CPU_PARAMETERS = [
    "parameters:",
    "  model.ngf: {values: [4, 8]}",
    "  model.ndf: {values: [4, 8]}",
    "  model.spectral_norm: {values: [true, false]}",
    "  train.lr_g: {distribution: log_uniform_values, min: 1e-4, max: 3e-3}",
    "  train.lr_d: {distribution: log_uniform_values, min: 1e-4, max: 3e-3}",
    "  train.batch_size: {values: [4, 8]}",
    "  train.ema_halflife_kimg: {distribution: log_uniform_values, min: 0.05, max: 0.5}",
    '  augment.policy: {values: ["color,translation", translation, ""]}',
]
_GPU_BASE = [
    "  train: {total_kimg: 400}",
    "  eval: {extractor: inception, num_fakes: 5000, early_fakes: 1000, every_kimg: 40}",
]
_GPU_PARAMETERS = [
    "parameters:",
    "  model.ngf: {values: [16, 32, 64]}",
    "  model.ndf: {values: [16, 32, 64]}",
    "  train.lr_g: {distribution: log_uniform_values, min: 1e-5, max: 1e-3}",
    "  train.lr_d: {distribution: log_uniform_values, min: 1e-5, max: 1e-3}",
    "  train.batch_size: {values: [4, 8, 16]}",
    '  augment.policy: {values: ["", "color,translation", "color,translation,cutout"]}',
]
