"""Describe the points of a search by what other data sets make of them.

On data sets of the same kind, the same configurations are good; on data sets of another kind, the
opposite ones may be (docs/findings.md). Two configurations with similar effects on all data sets
of a library have similar effects on a new one. So the expected effects on the library's data sets
are further features of a point. The Gaussian process of a search learns from the search's own
trials how much they tell: with more trials, they matter less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastgan_ray.search.curves.kernel import Array
from fastgan_ray.search.file.spec import SearchSpec, base_config, base_settings, longest_kimg
from fastgan_ray.search.knowledge.library import Library
from fastgan_ray.search.space import SearchSpace, is_number

SPREAD = 0.15  # root mean square of the features; distances between points are about twice this
SIMILAR = 2.0  # largest ratio between the resolutions of a library and of the search
# In the published training, the half-life of the weight average is a share of the whole training.
HALFLIFE = "train.ema_halflife_kimg"


class Knowledge:
    """What libraries know about the points of a search."""

    def __init__(self, libraries: Sequence[Library], spec: SearchSpec) -> None:
        self._libraries = libraries
        self._settings = base_settings(spec)
        self._total_kimg = longest_kimg(spec)
        variance = sum(library.ends.var(axis=0).sum() for library in libraries)
        self._unit = SPREAD / float(np.sqrt(variance))

    def features(self, points: Sequence[Mapping[str, Any]]) -> Array:
        """Return the scaled effects of points of the search, (points, data sets)."""
        effects = [
            library.effects([self._translated(point, library) for point in points])
            for library in self._libraries
        ]
        return self._unit * np.concatenate(effects, axis=1)

    def _translated(self, point: Mapping[str, Any], library: Library) -> dict[str, Any]:
        """Return the point of a library's space that is nearest to a point of the search."""
        settings = {**self._settings, **point}
        if is_number(halflife := settings[HALFLIFE]):
            settings[HALFLIFE] = halflife * library.total_kimg / self._total_kimg
        return nearest_point(library.spec.space, settings)


def knowledge_of(libraries: Sequence[Library], spec: SearchSpec) -> Knowledge | None:
    """Return what libraries know about a search; None if all of their pictures have other sizes."""
    resolution = base_config(spec).model.resolution
    alike = [
        library
        for library in libraries
        if 1 / SIMILAR <= resolution / library.resolution <= SIMILAR
    ]
    return Knowledge(alike, spec) if alike else None


def nearest_point(space: SearchSpace, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the point of a space that is nearest to `settings` ({dotted name: value}).

    A parameter is left out if it is inactive, or if none of its values is like the setting (such as
    a policy that the space does not have).
    """
    point: dict[str, Any] = {}
    for parameter in space:
        if parameter.active(point):
            value = settings[parameter.name]
            known = value if parameter.contains(value) else parameter.nearest(value)
            if known is not None:
                point[parameter.name] = known
    return point
