"""Make the name, the configuration and the tags of a trial's W&B run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastgan_ray.config.feature_networks import shared_data_of
from fastgan_ray.config.schedule import as_text
from fastgan_ray.tune.driver.parameters_text import parameters

DEFAULT, STOPPED, BEST, CONFIRMED = "default", "stopped", "best", "confirmed"


def title_of(trial_id: str, point: Mapping[str, Any], default: Mapping[str, Any]) -> str:
    """Return the name of a trial's W&B run, for example "00003 ngf=8 lr_g=0.0002".

    The name has the trial's id and parameter values. For the published default, it also has the
    word "default". In an ablation, it has the arm, the data set and the seed. `point` has the
    trial's parameter values, and `default` is as in `is_default`.
    """
    cell = [str(value) for name, value in point.items() if "." not in name]
    choices = parameters(point, [name for name in point if "." in name])
    words = [trial_id, *([DEFAULT] if is_default(point, default) and not cell else []), *cell]
    return " ".join(filter(None, [*words, choices]))


def config_of(run: Mapping[str, Any], point: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of a trial's W&B run.

    `run` is the trial's configuration as nested dicts, and `point` has the trial's parameter
    values. In an ablation, the result also has the key "cell": the arm, the data set and the seed.
    If the metric's network and the discriminator's feature network were trained on the same data,
    the result also has the key "shared_data": the name of these data. A schedule becomes a short
    text, so that each setting has one key in W&B.
    """
    cell = {name: value for name, value in point.items() if "." not in name}
    shared = shared_data_of(run)
    return {
        **as_text(run),
        **({"cell": cell} if cell else {}),
        **({"shared_data": shared} if shared else {}),
    }


def tags_of(point: Mapping[str, Any], default: Mapping[str, Any], state: str) -> list[str]:
    """Return those of the tags "default" and "stopped" that apply to a trial in `state`.

    The tags "best" and "confirmed" are added later, because they depend on other trials.
    """
    return [
        *([DEFAULT] if is_default(point, default) else []),
        *([STOPPED] if state == STOPPED else []),
    ]


def is_default(point: Mapping[str, Any], default: Mapping[str, Any]) -> bool:
    """Return whether a trial is the published default of a search or the baseline of an ablation.

    `point` has the trial's parameter values. `default` has the values of the published default or
    of the baseline; if it is empty, the result is False.
    """
    return bool(default) and default.items() <= point.items()
