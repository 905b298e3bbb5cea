"""Models of the search file and of the ablation file, with all keys, in the order of the checks.

The type of each field checks the field's value. A rule about several fields is checked by the type
of the last of these fields. In this way, one pass finds all errors of a file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from fastgan_ray.config.other_names import OTHER_NAMES
from fastgan_ray.config.run_config import SECTIONS
from fastgan_ray.search.ablation import Moment
from fastgan_ray.search.file.arms import AblationBase, Arms, Baseline, DataSets, Seeds
from fastgan_ray.search.file.budget import Budget, Confirmation, check_budget
from fastgan_ray.search.file.early_terminate import StoppingRules
from fastgan_ray.search.file.method import SAMPLERS, Method, Sampler
from fastgan_ray.search.file.metric import Metrics, OneMetric
from fastgan_ray.search.file.parameters import Parameters
from fastgan_ray.search.file.population import Population, check_population
from fastgan_ray.search.file.section import FileSection
from fastgan_ray.search.file.seeds import SearchSeeds
from fastgan_ray.search.file.settings import Settings

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"


def _names_a_folder(name: str) -> str:
    if not re.fullmatch(NAME, name):
        raise ValueError(
            "must be 1 to 100 letters, digits, '.', '_' or '-', and begin with a letter or "
            "digit, because it is the name of a folder"
        )
    return name


Name = Annotated[
    str, AfterValidator(_names_a_folder), Field(json_schema_extra={"pattern": f"^{NAME}$"})
]
# Keys of W&B's sweep files that this program does not support, with the reason.
REFUSED_OF_WANDB = {
    "program": "the program is always fastgan-ray",
    "command": "the program is always fastgan-ray",
    "controller": "this program runs the search, not W&B's server",
    "job": "this program runs the search, not W&B's server",
    "image_uri": "this program runs the search, not W&B's server",
    "entity": "set WANDB_ENTITY instead",
    "project": "set WANDB_PROJECT instead",
}
REFUSED_OF_SEARCH = {
    **REFUSED_OF_WANDB,
    "baseline": "this key belongs to an ablation, not to a search",
    "arms": "this key belongs to an ablation, not to a search",
}
REFUSED_OF_ABLATION = {
    **REFUSED_OF_WANDB,
    "method": "an ablation has no search method: it trains all arms",
    "parameters": "this key belongs to a search; an ablation has arms",
    "run_cap": "an ablation runs every arm with every seed",
    "early_terminate": "an ablation trains every arm to the end, so that the arms can be compared",
    "seed": "an ablation has the key `seeds` instead, with a list or a number of seeds",
}


class _File(FileSection):
    """The keys that search files and ablation files have in common."""

    refused: ClassVar[Mapping[str, str]]  # keys of other kinds of files -> why they are not allowed

    name: Name | None = Field(
        None,
        description="name of the run's folder; if left out, the file's name without its suffix",
    )
    description: str | None = Field(
        None,
        description="purpose of the file; if left out, the comment at the top of the file",
    )

    @classmethod
    def unknown_key(cls, key: str) -> str:
        """Return the error message for an unknown key.

        If another kind of file has this key, the message says why it is not allowed here.
        """
        if reason := cls.refused.get(key):
            return f"is not supported: {reason}"
        if key.partition(".")[0] in SECTIONS or key in OTHER_NAMES:
            hint = f"; {OTHER_NAMES[key]}" if key in OTHER_NAMES else ""
            return f"is a setting of a training; put it under base{hint}"
        return super().unknown_key(key)


class SearchFile(_File):
    """The keys of a search file."""

    refused = REFUSED_OF_SEARCH

    base: Settings = Field(
        {}, description="settings of all trials; settings that are left out have their defaults"
    )
    method: Method = Field(
        description="grid, random or bayes: how the search chooses the settings of trials"
    )
    seed: int = Field(0, ge=0, lt=2**31, description="seed of the search's random choices")
    parameters: Parameters = Field(
        description="the searched settings, and the values that each setting may take"
    )
    metric: Metrics = Field(
        description="metric that compares trials, e.g. {name: fid}; or a list of metrics, in "
        "which the first metric compares trials"
    )
    sampler: Sampler = Field(
        None,
        validate_default=True,
        description="algorithm that chooses the settings of trials. With method bayes: "
        f"{', '.join(SAMPLERS['bayes'])}; with method random: {', '.join(SAMPLERS['random'])}. If "
        "left out, the first algorithm in the list of the method; with several metrics, tpe",
    )
    run_cap: int | None = Field(
        None,
        ge=1,
        lt=2**31,
        description="number of trials (trainings); if left out, 64, or with method grid the number "
        "of all combinations, times `seeds`",
    )
    early_terminate: StoppingRules = Field(
        (),
        description="rule that ends bad trials early (hyperband, median, patience or chance), or a "
        "list of such rules; if left out, all trials run to the end",
    )
    population: Annotated[Population | None, AfterValidator(check_population)] = Field(
        None,
        description="population-based training: bad trials copy the weights and settings of good "
        "trials, change some settings and continue",
    )
    seeds: SearchSeeds = Field(
        1,
        description="number of trials of each configuration, each with another seed: train.seed in "
        "base, and the following numbers. A configuration gets its next seed when its earlier "
        "trials have finished; it gets no further seed if one of them was stopped early or failed",
    )
    confirm: Confirmation = Field(
        "auto",
        description="after the search, train the best trials again with new seeds. false = no "
        "confirmation; if left out, a confirmation with at most half as many images as the search",
    )
    knowledge: bool = Field(
        True,
        description="whether the sampler curves and `budget: {until: settled}` use recorded "
        "trainings on other data sets; the search's own trials soon count for more",
    )
    budget: Annotated[Budget, AfterValidator(check_budget)] = Field(
        Budget(), description="when the search ends: kimg, hours, gpu_hours, until"
    )


class AblationFile(_File):
    """The keys of an ablation file; an ablation compares arms with a baseline.

    Each arm is trained on each data set with each seed.
    """

    refused = REFUSED_OF_ABLATION

    base: AblationBase = Field(
        {}, description="settings of all arms; settings that are left out have their defaults"
    )
    arms: Arms = Field(description="a mapping from the name of each arm to its settings")
    baseline: Baseline = Field(
        description="the baseline that each arm is compared with: the name of an arm, or settings"
    )
    metric: OneMetric = Field(description="metric that compares arms, e.g. {name: fid}")
    seeds: Seeds = Field(
        description="number of seeds, or a list of seeds; each arm is trained with each seed"
    )
    compare: Moment = Field(
        "last",
        description="which checkpoint of each training is compared: last = the checkpoint at the "
        "end; best = the best checkpoint, measured again on new latents (needs train.keep_best "
        "of at least 1)",
    )
    data: DataSets = Field(
        (),
        description="list of data sets (folders or names); each arm is trained on each data set. "
        "If left out, data.path in base",
    )
