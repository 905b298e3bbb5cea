"""Which number to trust at 100 pictures: what each metric says of generators of known quality.

Command:  python benchmarks/trust.py        (writes benchmarks/results/trust.md)
Cost:     at first some 38,000 pictures go through EfficientNet-Lite0, half an hour on one core;
          their features are cached, and from then on it takes minutes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from machine import provenance
from simulated_generators import (
    EXTRACTOR,
    HALF,
    PICTURES,
    Draw,
    Generator,
    Pool,
    copying,
    draw,
    drawing,
    exact_copies,
    load_pool,
    of_few,
    of_modes,
    other_latents,
)

from fastgan_ray.config.evaluation import EvalConfig
from fastgan_ray.metrics.evaluate import METRICS, MetricInputs
from fastgan_ray.metrics.frechet import frechet_distance, frechet_distance_with_errors
from fastgan_ray.metrics.kernel import kernel_distance
from fastgan_ray.metrics.memorisation import nearest_training
from fastgan_ray.metrics.reference import Features

RESULT = Path(__file__).parent / "results" / "trust.md"
DATA = ("fluent-heads", "matcaps")
EVAL = EvalConfig(extractor=EXTRACTOR)
SPLITS = 400  # of reals against reals
DRAWS = 40  # of a split and its fakes
FAKES = 256
COMPARISONS = {64: 100, 256: 100, 990: 20}  # by number of fakes
GENERATORS: dict[str, Generator] = {
    "good": drawing(),
    "blur of 0.6 px": drawing("blur 0.6"),
    "blur of 0.8 px": drawing("blur 0.8"),
    "noise of 4 of 255": drawing("noise"),
    "tint of 16 of 255": drawing("tint"),
    "magnified 1.1 times": drawing("crop"),
    "double contours": drawing("ghost"),
    "bent shapes": drawing("melt"),
    "bent shapes, 1 in 5": drawing("melt", 0.2),
    "half of the modes": of_modes(0.5),
    "10 pictures, varied": of_few(10),
    "half copies, varied": copying(0.5),
    "copies, varied": copying(1.0),
    "copies, exact": exact_copies,
}
PAIRS: dict[str, tuple[Generator, Generator]] = {  # the better one first
    "blur of 0.6 px / 0.8 px": (drawing("blur 0.6"), drawing("blur 0.8")),
    "blur in 20 % / 30 %": (drawing("blur 0.8", 0.2), drawing("blur 0.8", 0.3)),
    "noise in 20 % / 30 %": (drawing("noise", 0.2), drawing("noise", 0.3)),
    "double contours in 20 % / 30 %": (drawing("ghost", 0.2), drawing("ghost", 0.3)),
    "bent shapes in 20 % / 30 %": (drawing("melt", 0.2), drawing("melt", 0.3)),
    "all modes / 3 of 4": (of_modes(1.0), of_modes(0.75)),
    "new / a quarter copies": (drawing(), copying(0.25)),
    "new / copies with blur of 0.6 px": (drawing(), copying(1.0, "blur 0.6")),
    "new / copies with blur of 0.8 px": (drawing(), copying(1.0, "blur 0.8")),
}
ABOUT = (
    f"Features of EfficientNet-Lite0, {PICTURES} pictures of each data set. A simulated generator "
    f"draws pictures and varies them: mirrored or not, moved, turned and scaled by a few percent, "
    "other light and colour. All splits and latents are seeded; sd is the standard deviation over "
    "them, stated the mean of the errors that an evaluation states."
)
REALS = (
    f"Disjoint random sets of n a side, {SPLITS} splits; stated: the error over both sets (`_se`)."
)
MORE_FAKES = (
    f"All {PICTURES} real pictures as reference, disjoint sets of fakes drawn from these same "
    "pictures; stated: the error over the fakes alone (`_se_fakes`)."
)
SIGHT = (
    f"{DRAWS} random splits into {HALF} training pictures, which are the reference, and {HALF} "
    f"others, from which {FAKES} fakes are drawn; copies are drawn from the training pictures. "
    "First row: mean ± sd of the good generator. Others: how far the mean of the worse one lies "
    "from it, in these sd; of `memorised`, the mean itself."
)
RANKINGS = (
    f"{HALF} training pictures as above. How often the better generator has the smaller distance, "
    "and mean over sd of the difference, from the same latents for both or from others ("
    + ", ".join(f"{count} comparisons of {fakes} fakes" for fakes, count in COMPARISONS.items())
    + "). Copies are varied, too."
)

Array = npt.NDArray[np.float64]
Rows = Iterable[Sequence[str]]


def errors(real: Features, fake: Features) -> list[float]:
    """FD, its errors over fakes and over both, and the same of KD times 1,000."""
    kernel = (1000 * value for value in kernel_distance(real, fake))
    return [*frechet_distance_with_errors(real, fake), *kernel]


def real_against_real(pool: Pool) -> Rows:
    """FD and KD of disjoint sets of n real pictures: mean, spread, stated error over both."""
    for n in (12, 25, 50, HALF):
        rng, found = np.random.default_rng(0), []
        for _ in range(SPLITS):
            order = rng.permutation(PICTURES)
            found.append(errors(pool.real[order[:n]], pool.real[order[n : 2 * n]]))
        yield [str(n), *_spreads(np.array(found), stated=2)]


def by_number_of_fakes(pool: Pool) -> Rows:
    """As above, of all real pictures and disjoint sets of m fakes; stated error over the fakes."""
    flat = pool.many.reshape(-1, pool.many.shape[-1])
    flat = flat[np.random.default_rng(0).permutation(len(flat))]
    for m in (64, 256, 1024, len(flat)):
        starts = range(0, len(flat) - m + 1, m)
        found = [errors(pool.real, flat[start : start + m]) for start in starts[:DRAWS]]
        yield [str(m), str(len(found)), *_spreads(np.array(found), stated=1)]


def _spreads(found: Array, stated: int) -> list[str]:
    mean, cells = found.mean(axis=0), []
    for value in (0, 3):
        spread = f"{found[:, value].std(ddof=1):.2f}" if len(found) > 1 else "-"
        cells += [f"{mean[value]:.2f}", spread, f"{mean[value + stated]:.2f}"]
    return cells


def sight(pool: Pool) -> tuple[list[str], Rows]:
    """What each metric makes of each generator, in standard deviations of the good one's value."""
    rng, found = np.random.default_rng(0), []
    for _ in range(DRAWS):
        drawn = draw(rng, FAKES)
        values = [every_metric(pool, drawn, make(pool, drawn)) for make in GENERATORS.values()]
        found.append([list(row.values()) for row in values])
    names = list(values[0])
    mean, spread = np.mean(found, axis=0), np.std(found, axis=0, ddof=1)
    rows = [["good", *(f"{m:.3g} ± {s:.2g}" for m, s in zip(mean[0], spread[0], strict=True))]]
    for generator, row in list(zip(GENERATORS, mean, strict=True))[1:]:
        cells = [
            # Often 0 in all draws, which leaves no deviation to count in.
            f"{value:.3f}" if name == "memorised" else f"{(value - base) / sd:+.1f}"
            for name, value, base, sd in zip(names, row, mean[0], spread[0], strict=True)
        ]
        rows.append([generator, *cells])
    return ["generator", *(name.replace(f"_{EXTRACTOR}", "") for name in names)], rows


def every_metric(pool: Pool, drawn: Draw, fake: Features) -> dict[str, float]:
    """What an evaluation reports, but for its errors."""
    real, mirrored = pool.real[drawn.training], pool.mirrored[drawn.training]
    logits = pool.logits(torch.from_numpy(fake)).numpy()
    inputs = MetricInputs(real, fake, logits, nearest_training(real, fake, mirrored))
    values: dict[str, float] = {}
    for measure in METRICS.values():
        values |= measure(inputs, EVAL)
    return {name: value for name, value in values.items() if "_s" not in name}


def rankings(pool: Pool) -> dict[tuple[str, int], Array]:
    """Worse minus better of each pair, by number of fakes: (comparisons, latents, metric).

    Latents are the better one's, and others; metrics are FD and KD.
    """
    found = {}
    for pair, (better, worse) in PAIRS.items():
        for fakes, comparisons in COMPARISONS.items():
            rng, rows = np.random.default_rng(0), []
            for _ in range(comparisons):
                drawn = draw(rng, fakes)
                other, real = other_latents(drawn, rng), pool.real[drawn.training]
                base = _distances(real, better(pool, drawn))
                rows.append([_distances(real, worse(pool, one)) - base for one in (drawn, other)])
            found[pair, fakes] = np.array(rows)
    return found


def _distances(real: Features, fake: Features) -> Array:
    return np.array([frechet_distance(real, fake), kernel_distance(real, fake)[0]])


def ranking_rows(found: dict[tuple[str, int], Array]) -> Rows:
    """Share ranked right, and mean over standard deviation of the difference."""
    for (pair, fakes), differences in found.items():
        right = (differences > 0).mean(axis=0)
        clear = differences.mean(axis=0) / differences.std(axis=0, ddof=1)
        cells = [f"{r:.0%} ({c:+.1f})" for r, c in zip(right.T.flat, clear.T.flat, strict=True)]
        yield [pair, str(fakes), *cells]
    for fakes in COMPARISONS:
        shares = [
            (differences > 0).mean(axis=0)
            for (pair, count), differences in found.items()
            if count == fakes and "copies" not in pair
        ]
        mean = np.mean(shares, axis=0)
        yield [
            "**mean but for copies**",
            str(fakes),
            *(f"**{share:.0%}**" for share in mean.T.flat),
        ]


def table(headings: Sequence[str], rows: Rows) -> str:
    """Markdown, all columns but the first to the right."""
    marks = ["---", *["---:"] * (len(headings) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (headings, marks, *rows))


def of_all(pools: dict[str, Pool], rows: Callable[[Pool], Rows]) -> Rows:
    """The rows of each data set, its name before them."""
    for name, pool in pools.items():
        yield from ([name, *row] for row in rows(pool))


def main() -> None:
    """Measure all, and write the result."""
    pools = {name: load_pool(name) for name in DATA}
    began = time.perf_counter()
    libraries = ("numpy", "scipy", "torch", "pillow", "efficientnet-lite-pytorch")
    both = ["FD", "sd", "stated", "KD x 1000", "sd", "stated"]
    lines = [
        "# What each metric says of generators of known quality",
        f"`python benchmarks/trust.py`, {provenance(libraries)}. {ABOUT}",
        "## Real pictures against real pictures",
        REALS,
        table(["data", "n", *both], of_all(pools, real_against_real)),
        "## More fakes",
        MORE_FAKES,
        table(["data", "fakes", "draws", *both], of_all(pools, by_number_of_fakes)),
        "## What each metric sees",
        SIGHT,
    ]
    for name, pool in pools.items():
        lines += [f"{name}:", table(*sight(pool))]
    lines += ["## Which of two generators is better", RANKINGS]
    headings = ["better / worse", "fakes", "FD, same", "FD, other", "KD, same", "KD, other"]
    for name, pool in pools.items():
        lines += [f"{name}:", table(headings, ranking_rows(rankings(pool)))]
    lines.append(f"Took {time.perf_counter() - began:.0f} s, the features being cached.")
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text("\n\n".join(lines) + "\n", encoding="utf-8")
    print(RESULT.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
