"""The name, configuration and tags of a trial's W&B run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastgan_ray.config.feature_networks import shared_data_of
from fastgan_ray.config.schedule import as_text
from fastgan_ray.tune.driver.parameters_text import parameters

DEFAULT, STOPPED, BEST, CONFIRMED = "default", "stopped", "best", "confirmed"


def title_of(trial_id: str, point: Mapping[str, Any], default: Mapping[str, Any]) -> str:
    """Return the name of a trial's W&B run, made of the trial's id and settings.

    For example "00003 ngf=8 lr_g=0.0002"; for the published default, "00000 default ngf=64". In an
    ablation, the settings are the arm, the data set and the seed.
    """
    cell = [str(value) for name, value in point.items() if "." not in name]
    choices = parameters(point, [name for name in point if "." in name])
    words = [trial_id, *([DEFAULT] if is_default(point, default) and not cell else []), *cell]
    return " ".join(filter(None, [*words, choices]))


def config_of(run: Mapping[str, Any], point: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration for W&B; in an ablation, it includes the arm, data and seed.

    If the metric shares training data with D's features, the key "shared_data" names these data.
    Schedules are short texts, so that a setting has one key in W&B.
    """
    cell = {name: value for name, value in point.items() if "." not in name}
    shared = shared_data_of(run)
    return {
        **as_text(run),
        **({"cell": cell} if cell else {}),
        **({"shared_data": shared} if shared else {}),
    }


def tags_of(point: Mapping[str, Any], default: Mapping[str, Any], state: str) -> list[str]:
    """Return the tags of a trial in `state`, without the tags that depend on other trials."""
    return [
        *([DEFAULT] if is_default(point, default) else []),
        *([STOPPED] if state == STOPPED else []),
    ]


def is_default(point: Mapping[str, Any], default: Mapping[str, Any]) -> bool:
    """Return whether a trial is the default of a search, or the baseline of an ablation.

    `default` has the values of this trial; it is empty if there is no such trial.
    """
    return bool(default) and default.items() <= point.items()
