"""Open the pictures of a run: training pictures, and reference or held-out pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Set
from typing import NamedTuple

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.counting import counted
from fastgan_ray.data.listing import named
from fastgan_ray.data.source import Source, limited, open_source, with_pictures
from fastgan_ray.errors import UserError
from fastgan_ray.progress import Track, silently


class PictureSets(NamedTuple):
    """The pictures of a run, as one set for each use."""

    training: Source
    """The training pictures."""
    pool: Source
    """All pictures that `data.limit` chooses from; generated pictures may be copies of these."""
    reference: Source
    """The pictures that metrics compare with: held-out pictures if there are any, else `pool`."""

    @property
    def held_out(self) -> bool:
        """True if the reference pictures of the metrics are never trained on."""
        return self.reference is not self.pool


def open_sets(config: RunConfig, track: Track = silently) -> PictureSets:
    """Open and check the pictures of a run.

    The reference pictures of the metrics are the pictures at `eval.data`, or the fraction
    `eval.held_out` of the pictures at `data.path`, or, by default, all pictures at `data.path`.
    Raises UserError like `open_source`. Also raises UserError if there are fewer than 2 training
    pictures or fewer than 2 held-out pictures, or if a picture at `eval.data` is also at
    `data.path`.
    """
    whole = config.data.model_copy(update={"limit": None})
    everything = open_source(whole, track=track)
    pool = reference = everything
    if config.eval.data is not None:
        reference = open_source(whole.model_copy(update={"path": config.eval.data}), track=track)
        _require_others(reference, pool)
    elif config.eval.held_out > 0:
        pool, reference = _divide(everything, config.eval.held_out, config.eval.seed)
    return PictureSets(limited(pool, config.data, config.train.seed), pool, reference)


def require_different_limits(limits: Set[float | None], pool: Source) -> None:
    """Raise UserError if there are several `limits` and at least one has no effect.

    The limits are values of `data.limit`. A limit has no effect if it is at least the
    number of pictures in `pool`. A training with such a limit uses all pictures, like a training
    without a limit (None).
    """
    without_effect = [limit for limit in limits if limit is not None and limit >= len(pool)]
    if without_effect and len(limits) > 1:
        raise UserError(
            f"data.limit: {pool.path} has {counted(len(pool), 'picture')}, so a limit of "
            f"{min(without_effect)} has no effect; set a lower limit, or use a larger data set"
        )


def open_pool(config: RunConfig, track: Track = silently) -> Source:
    """Open all pictures from which the training pictures of a run are chosen by `data.limit`."""
    without = config.eval.model_copy(update={"data": None})
    return open_sets(config.model_copy(update={"eval": without}), track).pool


def _divide(source: Source, share: float, seed: int) -> tuple[Source, Source]:
    """Return training pictures and held-out pictures (the fraction `share` of all pictures).

    The files with the lowest hashes of `seed` and content are held out. So copies of a file, and
    the pages of a file, are always in the same set. Raises UserError if a set has fewer than 2
    pictures.
    """

    def rank(sha256: str) -> str:
        return hashlib.sha256(f"{seed}\n{sha256}".encode()).hexdigest()

    target, held, count = round(share * len(source)), set[str](), 0
    sizes = dict.fromkeys((picture.sha256 for picture in source.pictures), 0)
    for picture in source.pictures:
        sizes[picture.sha256] += 1
    for sha256 in sorted(sizes, key=rank):
        if count >= target:
            break
        held.add(sha256)
        count += sizes[sha256]
    training = [picture for picture in source.pictures if picture.sha256 not in held]
    rest = [picture for picture in source.pictures if picture.sha256 in held]
    if min(len(training), len(rest)) < 2:
        raise UserError(
            f"eval.held_out: the fraction {share:g} of {counted(len(source), 'picture')} in "
            f"{source.path} makes {len(training)} training pictures and {len(rest)} held-out "
            "pictures, but at least 2 of each are needed; choose another fraction, or add pictures"
        )
    return with_pictures(source, training), with_pictures(source, rest)


def _require_others(reference: Source, pool: Source) -> None:
    """Raise UserError if a picture of `reference` is also in `pool`."""
    trained = {(picture.sha256, picture.facts.frame) for picture in pool.pictures}
    both = [
        picture.name
        for picture in reference.pictures
        if (picture.sha256, picture.facts.frame) in trained
    ]
    if both:
        raise UserError(
            f"eval.data: {len(both)} of {counted(len(reference), 'picture')} in {reference.path} "
            f"are also in {pool.path}: {named(both)}. Held-out pictures must not be trained on; "
            "remove them from one of the two sets, or use eval.held_out instead of eval.data"
        )
