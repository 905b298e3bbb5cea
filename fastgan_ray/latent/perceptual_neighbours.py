"""Find the training pictures that look most like generated pictures, by perceptual distance."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.data.source import Source
from fastgan_ray.errors import UserError
from fastgan_ray.latent.pictures import picture_tensor
from fastgan_ray.metrics.memorisation import TOO_NEAR, Neighbours, Pair
from fastgan_ray.progress import Track, silently
from fastgan_ray.train.perceptual import Embedding

COMPARED_SIDE = 256
"""Larger pictures are reduced to this side, in pixels, before they are compared."""
MOST_REFERENCES = 64
"""Distances between training pictures are measured from at most this many of them.

Each of these pictures, spread evenly over the data set, is compared with all training pictures."""
_QUERY_BYTES = 2**31  # memory for the vectors of a pass; each pass reads all pictures
_SAME = 1e-5  # the largest distance between two computations for the same picture
_BATCH = 4

Array = npt.NDArray[np.float64]


def nearest_pictures(
    samples_NCHW: Tensor,
    source: Source,
    config: RunConfig,
    embed: Embedding,
    count: int,
    track: Track = silently,
) -> Neighbours:
    """Find, for each sample, the `count` training pictures with the smallest perceptual distance.

    `samples_NCHW` has generated pictures in [-1, 1]. The training pictures in `source` are resized
    to the size of the samples, as for training. `embed` is a result of `load_embedding`. The unit
    of the distances is the mean distance from a training picture to the nearest other training
    picture, for at most MOST_REFERENCES training pictures. If `config` trains on mirror images,
    samples are also compared with mirror images. Raise UserError if all training pictures are the
    same.
    """
    size = samples_NCHW.shape[-2], samples_NCHW.shape[-1]

    def picture(index: int) -> Tensor:
        original = source.read(index, config.data.background)
        return picture_tensor(original, config.data, size)

    spread = np.linspace(0, len(source) - 1, min(len(source), MOST_REFERENCES))
    chosen = [round(position) for position in spread]
    queries = [*samples_NCHW, *map(picture, chosen)]
    mirrored = config.data.flip > 0 or config.eval.mirrored_reference
    parts = [
        _distances(torch.stack(part), source, picture, embed, mirrored, track)
        for part in _parts(queries, embed)
    ]
    distances_QVN = np.concatenate(parts)
    nearest = distances_QVN.min(axis=1)
    fakes, to_others = nearest[: len(samples_NCHW)], distances_QVN[len(samples_NCHW) :]
    # A duplicate or a mirror image of a picture does not count as another picture.
    same = (to_others <= _SAME).any(axis=1)
    reference = np.where(same, np.inf, to_others.min(axis=1)).min(axis=1)
    if not np.isfinite(reference).all():
        raise UserError(
            f"{source.path}: at least 2 different pictures are needed, but all {len(source)} "
            "pictures look the same"
        )
    unit = float(reference.mean())
    order = np.argsort(fakes, axis=1, kind="stable")[:, :count]
    pairs = [
        [Pair(fake, int(index), float(fakes[fake, index]) / unit) for index in indices]
        for fake, indices in enumerate(order)
    ]
    return Neighbours(pairs, float(np.quantile(reference, TOO_NEAR)) / unit)


def _parts(queries: list[Tensor], embed: Embedding) -> Iterator[list[Tensor]]:
    """Split pictures into batches; the embedding vectors of a batch need at most _QUERY_BYTES."""
    length = embed(_compared(queries[0][None])).shape[1]
    size = max(1, _QUERY_BYTES // (4 * length))
    for start in range(0, len(queries), size):
        yield queries[start : start + size]


def _distances(
    queries_QCHW: Tensor,
    source: Source,
    picture: Callable[[int], Tensor],
    embed: Embedding,
    mirrored: bool,
    track: Track,
) -> Array:
    """Return the distances (Q, V, N) from the pictures `queries_QCHW` to N training pictures.

    `picture` returns the training picture with a given index. V is 2 if `mirrored` is True (for the
    training picture and its mirror image), else 1.
    """
    vectors = torch.cat([embed(_compared(part)) for part in torch.split(queries_QCHW, _BATCH)])
    views = (False, True) if mirrored else (False,)
    distances = np.empty((len(vectors), len(views), len(source)))
    for index in track(range(len(source)), "comparing"):
        image = _compared(picture(index)[None])
        for view, flipped in enumerate(views):
            vector = embed(image.flip(-1) if flipped else image)
            # One query at a time: the differences of all queries would need twice the memory.
            squares = [(query - vector[0]).square().sum() for query in vectors]
            distances[:, view, index] = torch.stack(squares).cpu().numpy()
    return distances


def _compared(pictures_BCHW: Tensor) -> Tensor:
    """Round pictures in [-1, 1] to 8 bits; shrink them if a side is above COMPARED_SIDE pixels."""
    rounded = ((pictures_BCHW.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1
    height, width = rounded.shape[-2:]
    factor = COMPARED_SIDE / max(height, width)
    if factor >= 1:
        return rounded
    size = round(height * factor), round(width * factor)
    return F.interpolate(rounded, size=size, mode="bilinear", antialias=True)
