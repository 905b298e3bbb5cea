"""A library of trainings on other data sets; it predicts any configuration's effect on each set.

A file of a library has JSON lines. The first line describes all trainings: the search space as the
text of a search file, the overrides of this file, the names of the parameters, the kimg of the
evaluations, and the fitted hyperparameters. Each further line has the trainings of one data set,
and the source and licence of its pictures.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from fastgan_ray.search.curves.features import encode, encoded_parameters
from fastgan_ray.search.curves.kernel import SHARED, Array, Hyperparameters
from fastgan_ray.search.curves.posterior import Posterior
from fastgan_ray.search.curves.trials import Trial, end_times, rows_of
from fastgan_ray.search.file.read import spec_from_text
from fastgan_ray.search.file.spec import SearchSpec, base_config, longest_kimg
from fastgan_ray.search.space import sample

FILE = Path(__file__).with_name("library.jsonl")
MAX_ROWS = 480  # evaluations of a data set that are used (see `rows_of`)
REFERENCE = 200  # number of random points; the mean effect over these points is 0


@dataclass(frozen=True)
class DataSet:
    """The recorded trainings on one data set, and the number of its pictures.

    `about` has the kind, source and licence of the pictures, or the path of the user's pictures.
    `plain` is their share of black and white pixels (see `data.plain`); None if it is unknown.
    """

    name: str
    about: str
    pictures: int
    plain: float | None
    trials: Sequence[Trial]


@dataclass(frozen=True)
class Library:
    """Trainings on one or more data sets, with the space, resolution and length of one search.

    `hyper` are the hyperparameters that fit the trainings of all data sets together.
    """

    spec: SearchSpec
    sets: Sequence[DataSet]
    hyper: Hyperparameters

    @cached_property
    def resolution(self) -> int:
        """The larger side of the generated pictures, in pixels."""
        return base_config(self.spec).model.resolution

    @cached_property
    def total_kimg(self) -> float:
        """The length of the trainings, in thousands of images."""
        return longest_kimg(self.spec)

    @property
    def hyperparameters(self) -> dict[str, float]:
        """The hyperparameters by name; the relevance of a parameter has the parameter's name."""
        values = np.exp(self.hyper.logs)
        return dict(zip(_names(self.spec), values.tolist(), strict=True))

    @cached_property
    def posteriors(self) -> list[Posterior]:
        """The Gaussian process of each data set."""
        posteriors = []
        for data_set in self.sets:
            points = encode(self.spec.space, [trial.point for trial in data_set.trials])
            rows = rows_of(data_set.trials, self.total_kimg, MAX_ROWS)
            posteriors.append(Posterior(self.hyper, points, rows))
        return posteriors

    @cached_property
    def ends(self) -> Array:
        """The expected final values of random points on each data set, (`REFERENCE`, data sets).

        They are on the scale of the process (see `scale_of`): logarithms if values are positive.
        """
        rng = random.Random(0)
        return self._ends([sample(self.spec.space, rng) for _ in range(REFERENCE)])

    def effects(self, points: Sequence[Mapping[str, Any]]) -> Array:
        """Return the expected effect of each point on each data set, (points, data sets).

        The effect is the expected final value on the scale of the process (see `ends`), minus its
        mean over the space. `points` are points of the library's space, but may lack parameters.
        """
        return np.asarray(self._ends(points) - self.ends.mean(axis=0))

    def _ends(self, points: Sequence[Mapping[str, Any]]) -> Array:
        encoded = encode(self.spec.space, points)
        times = end_times(points, self.total_kimg)
        ends = [posterior.means(encoded, times) for posterior in self.posteriors]
        return np.stack(ends, axis=1)


@cache
def package_library() -> Library:
    """Return the library that comes with the package."""
    return read_library(FILE)


def read_library(path: Path) -> Library:
    """Read a library from its file."""
    header, *lines = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    spec = spec_from_text(header["search"], path.name, header["overrides"])
    hyper = Hyperparameters(np.log([header["hyperparameters"][name] for name in _names(spec)]))
    names = header["parameters"]
    sets = [
        DataSet(
            line["name"],
            line["about"],
            line["pictures"],
            line["plain"],
            [_trial(spec, names, header["kimg"], *training) for training in line["trainings"]],
        )
        for line in lines
    ]
    return Library(spec, sets, hyper)


def library_lines(library: Library) -> Iterable[str]:
    """Yield the lines of a library's file, which `read_library` reads."""
    names = [parameter.name for parameter in library.spec.space]
    kimg = sorted({kimg for data in library.sets for trial in data.trials for kimg in trial.values})
    header = {
        "search": library.spec.text,
        "overrides": library.spec.overrides,
        "parameters": names,
        "kimg": kimg,
        "hyperparameters": {
            name: float(f"{value:.4g}") for name, value in library.hyperparameters.items()
        },
    }
    yield _line(header)
    for data in library.sets:
        trainings = [
            [
                [trial.point.get(name) for name in names],
                [trial.values.get(step) for step in kimg],
                trial.is_infeasible,
            ]
            for trial in data.trials
        ]
        yield _line(
            {
                "name": data.name,
                "about": data.about,
                "pictures": data.pictures,
                "plain": None if data.plain is None else round(data.plain, 3),
                "trainings": trainings,
            }
        )


def _names(spec: SearchSpec) -> list[str]:
    """Return the names of all hyperparameters in order: first the parameters (relevances)."""
    return [*(parameter.name for parameter in encoded_parameters(spec.space)), *SHARED]


def _line(content: Mapping[str, Any]) -> str:
    return json.dumps(content, separators=(",", ":")) + "\n"


def _trial(
    spec: SearchSpec,
    names: Sequence[str],
    kimg: Sequence[float],
    settings: Sequence[Any],
    values: Sequence[float | None],
    is_infeasible: bool,
) -> Trial:
    listed = dict(zip(names, settings, strict=True))
    point: dict[str, Any] = {}
    for parameter in spec.space:  # the file has null for inactive parameters and for the value null
        value = listed[parameter.name]
        if parameter.active(point) and (value is not None or parameter.contains(value)):
            point[parameter.name] = value
    return Trial(
        point,
        {step: value for step, value in zip(kimg, values, strict=True) if value is not None},
        is_infeasible=is_infeasible,
    )
