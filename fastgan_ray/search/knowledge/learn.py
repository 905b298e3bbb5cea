"""Make a library: fit one set of hyperparameters to the trainings of all its data sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.optimize import minimize

from fastgan_ray.search.curves.features import encode
from fastgan_ray.search.curves.kernel import Array, Hyperparameters, squared_distances
from fastgan_ray.search.curves.posterior import Prior, Rows, loss, prior
from fastgan_ray.search.curves.trials import rows_of
from fastgan_ray.search.file.spec import SearchSpec, longest_kimg
from fastgan_ray.search.knowledge.library import MAX_ROWS, DataSet, Library

STEPS = 40  # largest number of iterations of the fit


def learn(spec: SearchSpec, sets: Sequence[DataSet]) -> Library:
    """Return a library of trainings on several data sets; all use the search space of `spec`."""
    pieces = []
    for data_set in sets:
        points = encode(spec.space, [trial.point for trial in data_set.trials])
        # A library has no standard errors, so its hyperparameters must fit without them, too.
        trials = [replace(trial, errors={}) for trial in data_set.trials]
        rows = rows_of(trials, longest_kimg(spec), MAX_ROWS)
        pieces.append((squared_distances(points, points), rows))
    return Library(spec, sets, fit_together(pieces, prior(len(pieces[0][0]))))


def fit_together(pieces: Sequence[tuple[Array, Rows]], prior: Prior) -> Hyperparameters:
    """Return the hyperparameters with the highest posterior density, given several data sets.

    `pieces` has the arguments `squared` and `rows` of `posterior.loss` for each data set.
    """

    def total(logs: Array) -> tuple[float, Array]:
        flat = Prior(logs, np.ones_like(logs))  # adds 0 to the loss and to its gradient
        scaled = (logs - prior.means) / prior.deviations
        parts = [loss(logs, flat, squared, rows) for squared, rows in pieces]
        value = sum(value for value, _ in parts) + 0.5 * float(scaled @ scaled)
        slope = np.sum([slope for _, slope in parts], axis=0) + scaled / prior.deviations
        return value, slope

    bounds = list(
        zip(prior.means - 4 * prior.deviations, prior.means + 4 * prior.deviations, strict=True)
    )
    result = minimize(
        total, prior.means, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": STEPS}
    )
    return Hyperparameters(np.asarray(result.x))
