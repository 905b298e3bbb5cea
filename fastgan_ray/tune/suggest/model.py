"""The Gaussian process of a search's study: what is known, the fit, and the best candidate."""

from __future__ import annotations

import random
from collections.abc import Sequence

import optuna

from fastgan_ray.data.plain import plain_share_of
from fastgan_ray.search.curves.choice import (
    Candidate,
    Point,
    best_candidate,
    fitted,
    likely_point,
    random_pool,
)
from fastgan_ray.search.curves.kernel import Hyperparameters
from fastgan_ray.search.curves.posterior import Posterior
from fastgan_ray.search.curves.trials import Trial
from fastgan_ray.search.file.spec import SearchSpec, base_config, longest_kimg
from fastgan_ray.search.knowledge.responses import knowledge_of, usable_libraries
from fastgan_ray.tune.suggest.study import RUN
from fastgan_ray.tune.suggest.study_trials import earlier_trials_of, suggested_points

PLAIN = "plain_share"  # attribute of a study


class Model:
    """What stays the same during a search: knowledge, and the pool of random points.

    It depends only on the search file, its pictures, the libraries, and the trials of another
    search (`--from`) in the study. The plain share of the pictures is stored in the study, so that
    a restarted search also knows it where the pictures cannot be read.
    """

    def __init__(self, study: optuna.Study, spec: SearchSpec) -> None:
        self._spec = spec
        run, share = study.user_attrs.get(RUN, ""), study.user_attrs.get(PLAIN)
        if share is None and spec.knowledge and usable_libraries(spec, run):
            share = plain_share_of(base_config(spec).data)
            if share is not None:
                study.set_user_attr(PLAIN, share)
        self.knowledge = knowledge_of(spec, earlier_trials_of(study, spec), share, run)
        self._length = longest_kimg(spec)
        self._pool = random_pool(spec.space, spec.seed, self._length, self.knowledge)

    def fitted(self, trials: Sequence[Trial], start: Hyperparameters | None = None) -> Posterior:
        """Fit the process to the trials of the search (see `choice.fitted`)."""
        return fitted(self._spec.space, trials, self._length, start, self.knowledge)

    def likely_point(self, study: optuna.Study, rng: random.Random) -> Point | None:
        """Return a point that probably is good, or None (see `choice.likely_point`)."""
        return likely_point(self._pool, suggested_points(study, self._spec), rng)

    def best_candidate(
        self,
        study: optuna.Study,
        trials: Sequence[Trial],
        posterior: Posterior,
        rng: random.Random,
    ) -> Candidate:
        """Return the best candidate for the next training (see `choice.best_candidate`).

        `trials` are those of the study, to which `posterior` was fitted.
        """
        suggested = suggested_points(study, self._spec)
        return best_candidate(
            self._spec.space, trials, posterior, self._pool, rng, self.knowledge, suggested
        )
