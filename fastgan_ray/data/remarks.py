"""Write remarks about pictures that are read: too few, enlarged, copies, nearly identical."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from fastgan_ray.config.data import DataConfig
from fastgan_ray.counting import counted
from fastgan_ray.data.checking import Picture
from fastgan_ray.data.fit import Size
from fastgan_ray.data.inspection import SKETCH_SIDE
from fastgan_ray.data.listing import describe_left_out, named, printable
from fastgan_ray.data.resolution import enlargement
from fastgan_ray.data.source import Source

MOST_ENLARGED = 2.0
"""Pictures that are enlarged by more than this factor get a remark."""
# Two pictures are nearly the same if their sketches differ by at most this many levels of 255 on
# average.
_ALIKE_LEVELS = 2.0
_NEARLY_ALL = 0.9


def remarks(source: Source, config: DataConfig, size: Size) -> list[str]:
    """List sentences about files that were not read and about what may be wrong with the pictures.

    `size` is the height and width of the training pictures in pixels; for a search, the largest
    size of its trials. The list is empty if nothing is wrong.
    """
    sentences = [
        describe_left_out(source.left_out),
        *source.notes,
        _too_few_for_limit(source, config),
        _skipped(source.skipped),
        _further_frames(source.pictures, config),
        *_warnings(source.pictures),
        _enlarged(source.pictures, config, size),
        _copies(source.pictures),
        _nearly_identical(source.pictures),
    ]
    return [sentence for sentence in sentences if sentence]


def sketches(pictures: Sequence[Picture]) -> npt.NDArray[np.float32]:
    """Return the tiny copies of the pictures (`PictureFacts.sketch`), one copy in each row.

    The values are 0 to 255; the shape is (pictures, 3 x SKETCH_SIDE x SKETCH_SIDE).
    """
    joined = bytes.fromhex("".join(picture.facts.sketch for picture in pictures))
    values = np.frombuffer(joined, np.uint8).astype(np.float32)
    return values.reshape(len(pictures), 3 * SKETCH_SIDE**2)


def mirrored_sketches(pictures: Sequence[Picture]) -> npt.NDArray[np.float32]:
    """Return `sketches(pictures)`, each mirrored left to right."""
    values = sketches(pictures).reshape(len(pictures), SKETCH_SIDE, SKETCH_SIDE, 3)
    return values[:, :, ::-1].reshape(len(pictures), 3 * SKETCH_SIDE**2)


def copies(pictures: Sequence[Picture]) -> list[list[Picture]]:
    """Return the groups of pictures that are exact copies of each other.

    Copies have the same bytes of the file, the same frame and the same crop.
    """
    groups = defaultdict(list)
    for picture in pictures:
        groups[picture.sha256, picture.facts.frame, picture.crop].append(picture)
    return [group for group in groups.values() if len(group) > 1]


def _too_few_for_limit(source: Source, config: DataConfig) -> str:
    if config.limit is None or config.limit <= len(source):  # also any fraction
        return ""
    return (
        f"data.limit is {config.limit:.15g}, but there are only "
        f"{counted(len(source), 'picture')}, so all of them are used"
    )


def _skipped(skipped: Sequence[str]) -> str:
    if not skipped:
        return ""
    names = [line.split(": ")[0] for line in skipped]
    files = f"{counted(len(skipped), 'file')} cannot be read and {_are(len(skipped))} left out"
    return f"{files}: {named(names)}"


def _further_frames(pictures: Sequence[Picture], config: DataConfig) -> str:
    several = [picture for picture in pictures if picture.frame_count > 1]
    if not several or config.frames == "all":
        return ""
    count = sum(picture.frame_count - 1 for picture in several)
    return (
        f"{counted(len(several), 'file')} {_have(len(several))} several pages or frames, but only "
        f"the first is used ({named([picture.file for picture in several])}); to use the "
        f"{counted(count, 'other frame')}, set data.frames: all"
    )


def _warnings(pictures: Sequence[Picture]) -> Iterator[str]:
    names: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for picture in pictures:
        if picture.warning:
            names[picture.warning][picture.file] = None
    for warning, files in sorted(names.items()):
        yield f"{counted(len(files), 'file')} {_are(len(files))} {warning}: {named(list(files))}"


def _enlarged(pictures: Sequence[Picture], config: DataConfig, size: Size) -> str:
    factors = {picture.name: enlargement(picture, config, size) for picture in pictures}
    enlarged = sum(factor > MOST_ENLARGED for factor in factors.values())
    if not enlarged:
        return ""
    smallest = max(pictures, key=lambda picture: factors[picture.name])
    height, width = size
    target = f"{width} px" if width == height else f"{width} x {height} px"
    own = f"{smallest.facts.width} x {smallest.facts.height} px"
    return (
        f"{enlarged} of {counted(len(pictures), 'picture')} {_are(enlarged)} enlarged by a factor "
        f"of more than {MOST_ENLARGED:g} to {target}. For the smallest, {printable(smallest.name)} "
        f"({own}), the factor is {factors[smallest.name]:.3g}. Use larger pictures or a lower "
        "model.resolution"
    )


def _copies(pictures: Sequence[Picture]) -> str:
    groups = copies(pictures)
    if not groups:
        return ""
    count = sum(len(group) - 1 for group in groups)
    first, second = groups[0][:2]
    are_copies = "is an exact copy of another" if count == 1 else "are exact copies of others"
    return (
        f"{count} of {counted(len(pictures), 'picture')} {are_copies}; for example, "
        f"{printable(second.name)} is a copy of {printable(first.name)}"
    )


def _nearly_identical(pictures: Sequence[Picture]) -> str:
    values = sketches(pictures)
    differences = np.abs(values - np.median(values, axis=0)).mean(axis=1)
    alike = int((differences <= _ALIKE_LEVELS).sum())
    if alike < max(2, _NEARLY_ALL * len(pictures)):
        return ""
    return (
        f"{alike} of {counted(len(pictures), 'picture')} look nearly identical when they "
        "are reduced in size. From such pictures, a generator can only learn to copy them"
    )


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _have(count: int) -> str:
    return "has" if count == 1 else "have"
