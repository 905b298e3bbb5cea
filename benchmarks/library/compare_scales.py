"""Do configurations rank the same at other resolutions and lengths?

    PYTHONPATH=benchmarks python benchmarks/library/compare_scales.py

Compares the recorded trainings at 32 px with the longer ones at 64 px, configuration by
configuration. Writes results/scales.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from describe import Array, Curves, curves_of
from design import SCALES, SETS
from record import FOLDER
from scipy.stats import rankdata, spearmanr

RESULTS = Path(__file__).resolve().parents[1] / "results" / "scales.md"
SMALL = "32px"
MIN_POINTS = 4  # configurations that a set must have at both scales
DRAWS = 2000  # of the bootstrap over configurations


class Pair(NamedTuple):
    """The configurations that a set has at two scales, in the same order: their log values.

    `small` has the mean last value (n,). `large` (n, rows + 1) has the mean values after each of
    `columns` thousand images, and then the mean of the best values of the trainings. `early` has,
    for each column, the rank correlation with these best values.
    """

    numbers: list[int]
    small: Array
    large: Array
    columns: Sequence[str]

    @property
    def early(self) -> list[float]:
        best = self.large[:, -1]
        return [float(spearmanr(column, best).statistic) for column in self.large.T]


def pair_of(small: Curves, large: Curves) -> Pair | None:
    """Return the common configurations of a set; None if there are too few."""
    numbers = sorted(small.of_point.keys() & large.of_point.keys())
    if len(numbers) < MIN_POINTS:
        return None
    rows = [large.of_point[number] for number in numbers]
    return Pair(
        numbers,
        np.array([small.last(number) for number in numbers]),
        np.array([[*curves.mean(axis=0), curves.min(axis=1).mean()] for curves in rows]),
        [*(f"{step:g}" for step in large.kimg), "best"],
    )


def rank_correlation(first: Array, second: Array, rng: np.random.Generator) -> tuple[float, float]:
    """Return the rank correlation, and its standard error from a bootstrap."""
    draws = []
    for _ in range(DRAWS):
        chosen = rng.integers(len(first), size=len(first))
        if len(set(chosen)) > 2:
            draws.append(spearmanr(first[chosen], second[chosen]).statistic)
    return float(spearmanr(first, second).statistic), float(np.nanstd(draws))


def together(pairs: Sequence[Pair], row: int) -> float:
    """Return the correlation of ranks within sets, over the configurations of all sets."""
    scaled = [
        [(rankdata(values) - (len(values) + 1) / 2) / len(values) for values in both]
        for both in ((pair.small, pair.large[:, row]) for pair in pairs)
    ]
    small, large = (np.concatenate([one[i] for one in scaled]) for i in range(2))
    return float(np.corrcoef(small, large)[0, 1])


def section(scale: str, pairs: Mapping[str, Pair], rng: np.random.Generator) -> list[str]:
    """Return the table of a scale as Markdown."""
    size, columns = SCALES[scale], next(iter(pairs.values())).columns
    lines = [
        f"\n## {size.resolution} px, {size.total_kimg:g} thousand images\n",
        "| set | configurations | spread, small | spread, large | " + " | ".join(columns) + " |",
        "|---" * (len(columns) + 4) + "|",
    ]
    for name, pair in pairs.items():
        spreads = [f"{100 * x.std(ddof=1):.1f} %" for x in (pair.small, pair.large[:, -2])]
        cells = [
            "{:.2f} ± {:.2f}".format(*rank_correlation(pair.small, pair.large[:, row], rng))
            for row in range(len(columns))
        ]
        lines.append(f"| {name} | {' | '.join([str(len(pair.numbers)), *spreads, *cells])} |")
    everything = [f"{together(list(pairs.values()), row):.2f}" for row in range(len(columns))]
    count = sum(len(pair.numbers) for pair in pairs.values())
    lines.append(f"| all, ranks within sets | {count} | | | {' | '.join(everything)} |")
    early = np.mean([pair.early for pair in pairs.values()], axis=0)
    cells = [f"{value:.2f}" for value in early]
    lines.append(f"| within the large scale: with the best | {count} | | | {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of the recordings")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    small = SCALES[SMALL]
    lines = [
        "# Do configurations rank the same at other resolutions and lengths?\n",
        "`PYTHONPATH=benchmarks python benchmarks/library/compare_scales.py`. The rank correlation "
        f"over configurations between the last value of a training at {small.resolution} px "
        f"({small.total_kimg:g} thousand images) and the value of a larger training after each "
        "number of thousand images, with its standard error (a bootstrap over configurations). "
        "Spread: the standard deviation over these configurations at the end. Column `best`: the "
        "best value of the larger training. Last row: the rank correlation of the larger "
        "trainings' own values with their best ones, mean over sets.",
    ]
    rng = np.random.default_rng(0)
    for scale in (name for name in SCALES if name != SMALL):
        pairs = {
            name: pair
            for name in SETS
            if (
                pair := pair_of(
                    curves_of(options.folder, name, SMALL), curves_of(options.folder, name, scale)
                )
            )
        }
        lines += section(scale, pairs, rng) if pairs else []
    text = "\n".join(lines) + "\n"
    options.out.write_text(text)
    print(text, end="")


if __name__ == "__main__":
    main()
