"""Does a portfolio of configurations that complement each other help on a set that it has not seen?

    PYTHONPATH=benchmarks python benchmarks/library/portfolio.py

Each recorded set is left out in turn. A portfolio is chosen greedily on the other sets: the next
configuration is the one with which the best of default and portfolio is best on average (the mean
logarithm of its last value relative to the default). On the set that was left out, the best of the
default and the portfolio is compared with the best of the default and as many of the same
configurations: those with the best expected effects on sets that are as plain (as the sampler
`curves` expects them before its first trial), and random ones. Writes results/portfolio.md.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from design import SCALES
from machine import provenance
from make_knowledge import set_facts
from numpy.typing import NDArray
from record import EXTRACTOR, recorded, recordings_parser

from fastgan_ray.search.knowledge.responses import alike

RESULTS = Path(__file__).resolve().parents[1] / "results" / "portfolio.md"
SIZES = (1, 2, 3, 4, 5)
Values = NDArray[np.float64]  # (sets, configurations): log(last value / the default's)


def table(folder: Path, scale: str) -> tuple[list[str], list[int], Values]:
    """Return the sets, the numbers of the configurations that all have, and their values.

    A configuration's value is the mean over its seeds; a diverged one has the worst value of its
    set.
    """
    logs: dict[str, dict[int, list[float]]] = {}
    for line in recorded(folder):
        if line["scale"] == scale:
            last = line["rows"].get(f"fd_{EXTRACTOR}", [None])[-1]
            value = math.log(last) if line["outcome"] == "finished" and last else math.inf
            logs.setdefault(line["set"], {}).setdefault(line["number"], []).append(value)
    most = max(map(len, logs.values()))
    logs = {name: of_set for name, of_set in logs.items() if 2 * len(of_set) > most}
    common = sorted(set.intersection(*(set(of_set) for of_set in logs.values())) - {0})
    values = np.array(
        [
            [np.mean(of_set[number]) - np.mean(of_set[0]) for number in common]
            for of_set in logs.values()
        ]
    )
    worst = np.where(np.isfinite(values), values, -math.inf).max(axis=1, keepdims=True)
    return list(logs), common, np.where(np.isfinite(values), values, worst)


def portfolio(values: Values, size: int) -> list[int]:
    """Return the columns of a greedy portfolio, chosen on all rows of `values`."""
    chosen: list[int] = []
    best = np.zeros(len(values))  # the default
    for _ in range(size):
        means = np.minimum(best[:, None], values).mean(axis=0)
        means[chosen] = math.inf
        chosen.append(int(means.argmin()))
        best = np.minimum(best, values[:, chosen[-1]])
    return chosen


def alike_first(values: Values, shares: Sequence[float], index: int, size: int) -> list[int]:
    """Return the columns with the best expected effects on the set `index`, from the other sets."""
    others = np.delete(np.arange(len(values)), index)
    weights = alike(shares[index], [shares[other] for other in others])
    expected = weights @ values[others]
    return np.argsort(expected, kind="stable")[:size].tolist()


def of_random(row: Values, size: int) -> float:
    """Return the mean best value of the default and `size` random configurations, exactly."""
    subsets = itertools.combinations(row, size)
    return float(np.mean([min(0.0, *subset) for subset in subsets]))


def rows(names: Sequence[str], values: Values) -> list[str]:
    """Return the rows of the table: for each set, three gains in percent."""
    lines, gains = [], []
    shares = [set_facts()[name]["plain"] for name in names]
    for index, name in enumerate(names):
        others = np.delete(values, index, axis=0)
        of_set = [
            (
                min(0.0, *values[index, portfolio(others, size)]),
                min(0.0, *values[index, alike_first(values, shares, index, size)]),
                of_random(values[index], size),
            )
            for size in SIZES
        ]
        gains.append(of_set)
        lines.append(f"| {name} | {' | '.join(map(_cell, of_set))} |")
    table = np.array(gains)
    differences = table[:, :, :2] - table[:, :, 2:]
    errors = 100 * differences.std(axis=0, ddof=1) / math.sqrt(len(names))
    cells = [
        f"{_cell(mean)} (± {first:.1f}, {second:.1f})"
        for mean, (first, second) in zip(table.mean(axis=0), errors, strict=True)
    ]
    return [*lines, f"| mean | {' | '.join(cells)} |"]


def _cell(logs: Iterable[float]) -> str:
    return ", ".join(f"{-100 * math.expm1(value):.1f}" for value in logs)


def main() -> None:
    """Compute the table and write it."""
    options = recordings_parser(__doc__).parse_args()
    names, common, values = table(options.folder, options.scale)
    lines = [
        "# Does a portfolio of configurations help on a set that it has not seen?\n",
        f"`PYTHONPATH=benchmarks python benchmarks/library/portfolio.py --scale {options.scale}`; "
        f"{provenance(())}\n",
        f"{len(common)} configurations that were recorded on each of {len(names)} sets "
        f"({SCALES[options.scale].total_kimg:g} thousand images). By how many percent the best of "
        "the default and so many further configurations is better than the default, on the set "
        "that was left out: first of a portfolio that was chosen on the other sets, then of those "
        "with the best expected effects on sets that are as plain, then of random ones. Last row: "
        "the means, with the standard errors over sets of the first two's lead over random ones.\n",
        f"| set | {' | '.join(map(str, SIZES))} |",
        "|---" * (1 + len(SIZES)) + "|",
        *rows(names, values),
        f"\nChosen on all sets: {', '.join(str(common[i]) for i in portfolio(values, SIZES[-1]))} "
        "(numbers of points, see design.py).",
    ]
    text = "\n".join(lines) + "\n"
    RESULTS.write_text(text)
    print(text, end="")


if __name__ == "__main__":
    main()
