"""What the recorded trainings say, before any search: luck, early values, agreement between sets.

    PYTHONPATH=benchmarks python benchmarks/library/describe.py [--scale 32px]

Writes results/library.md, and with --plot a picture of it (docs/images/library.png). All numbers
are of logarithms of the distance.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from design import SCALES, SETS, roles
from make_knowledge import METRIC, MIN_POINTS, set_facts
from numpy.typing import NDArray
from picture_sets import SETS as PICTURE_SETS
from record import recorded, recordings_parser
from scipy.stats import spearmanr

Array = NDArray[np.float64]
RESULTS = Path(__file__).resolve().parents[1] / "results" / "library.md"
PLOT = Path(__file__).resolve().parents[2] / "docs" / "images" / "library.png"
PLAIN = 0.2  # share of black and white pixels from which a set counts as plain in the picture
DRAWS = 500  # of the bootstrap over points


class Curves(NamedTuple):
    """The log curves of a set: for each point, an array (seeds, rows)."""

    kimg: list[float]
    of_point: dict[int, Array]
    failed: int

    def last(self, number: int) -> float:
        """Return the mean last value of a point."""
        return float(self.of_point[number][:, -1].mean())


def curves_of(folder: Path, name: str, scale: str) -> Curves:
    """Collect the finished trainings of a set; `failed` counts the others."""
    of_point: dict[int, list[list[float]]] = {}
    kimg: list[float] = []
    failed = 0
    for line in recorded(folder, [name]):
        if line["scale"] != scale:
            continue
        if line["outcome"] != "finished":
            failed += 1
            continue
        kimg = line["rows"]["kimg"]
        of_point.setdefault(line["number"], []).append(line["rows"][METRIC])
    return Curves(kimg, {n: np.log(rows) for n, rows in sorted(of_point.items())}, failed)


def seed_deviation(curves: Curves) -> tuple[float, int]:
    """Return the standard deviation that a seed causes at the end, and its degrees of freedom."""
    groups = [rows[:, -1] for rows in curves.of_point.values() if len(rows) > 1]
    freedom = sum(len(group) - 1 for group in groups)
    squares = sum(float(((group - group.mean()) ** 2).sum()) for group in groups)
    return (squares / freedom) ** 0.5 if freedom else float("nan"), freedom


def early(curves: Curves) -> Array:
    """Return the rank correlation of each row with the last one, over points, first seeds only.

    A training's early and last value share its luck, so this is what a stopping rule can know.
    """
    rows = np.array([rows[0] for rows in curves.of_point.values()])
    return np.array([spearmanr(rows[:, i], rows[:, -1]).statistic for i in range(rows.shape[1])])


def agreement(first: Curves, second: Curves, rng: np.random.Generator) -> tuple[float, float]:
    """Return the correlation between two sets over their common points, and its standard error."""
    common = sorted(first.of_point.keys() & second.of_point.keys())
    pairs = np.array([[first.last(n), second.last(n)] for n in common])
    draws = [
        np.corrcoef(pairs[rng.integers(len(pairs), size=len(pairs))].T)[0, 1] for _ in range(DRAWS)
    ]
    return float(np.corrcoef(pairs.T)[0, 1]), float(np.nanstd(draws))


def kind(name: str) -> str:
    """Return what the pictures of a set show."""
    known = PICTURE_SETS.get(name)
    return known.kind if known else "embedded in the package"


def report(sets: Mapping[str, Curves], scale: str) -> str:
    """Return the tables as Markdown."""
    role_of = {name: role for role, names in roles().items() for name in names}
    size = SCALES[scale]
    lines = [
        "# What the recorded trainings say\n",
        f"`PYTHONPATH=benchmarks python benchmarks/library/describe.py --scale {scale}`: "
        f"{size.resolution} px, {size.total_kimg:g} thousand images, "
        f"{sum(len(r) for c in sets.values() for r in c.of_point.values())} trainings.\n",
        f"Left out, with fewer than {MIN_POINTS} configurations: "
        f"{', '.join(name for name in SETS if name not in sets) or 'none'}.\n",
        "Spread: the standard deviation over configurations at the end, in percent. Seed: that of "
        "the trainings of one configuration (with its degrees of freedom). "
        "Default: how many of the configurations are better than the published default.\n",
        "| set | kind | role | configurations | failed | spread | seed | default |",
        "|---|---|---|---|---|---|---|---|",
    ]
    sets = dict(sorted(sets.items(), key=lambda item: set_facts()[item[0]]["plain"]))
    for name, curves in sets.items():
        ends = np.array([curves.last(number) for number in curves.of_point])
        sd, freedom = seed_deviation(curves)
        better = float((ends < curves.last(0)).mean()) if 0 in curves.of_point else float("nan")
        lines.append(
            f"| {name} | {kind(name)} | {role_of[name]} | {len(ends)} | {curves.failed} "
            f"| {100 * ends.std(ddof=1):.1f} % | {100 * sd:.1f} % ({freedom}) | {better:.0%} |"
        )
    kimg = next(iter(sets.values())).kimg
    lines += [
        "\nRank correlation over configurations between a training's value so far and its last "
        "value:\n",
        "| set | " + " | ".join(f"{step:g}" for step in kimg) + " |",
        "|---" * (len(kimg) + 1) + "|",
    ]
    for name, curves in sets.items():
        lines.append(f"| {name} | " + " | ".join(f"{value:.2f}" for value in early(curves)) + " |")
    lines += [
        "\nCorrelation between sets, over the configurations that both have, with its standard "
        "error; the sets by their share of black and white pixels:\n",
        "| | " + " | ".join(sets) + " |",
        "|---" * (len(sets) + 1) + "|",
    ]
    rng = np.random.default_rng(0)
    between = {
        (name, other): agreement(sets[name], sets[other], rng)
        for name, other in itertools.permutations(sets, 2)
    }
    for name in sets:
        cells = [
            "" if other == name else "{:.2f} ± {:.2f}".format(*between[name, other])
            for other in sets
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += _explained({pair: value for pair, (value, _) in between.items() if pair[0] < pair[1]})
    return "\n".join(lines) + "\n"


def plot(sets: Mapping[str, Curves], path: Path) -> None:
    """Draw what early values tell, by set, and how the agreement of two sets depends on `plain`."""
    mpl.use("Agg")
    facts, rng = set_facts(), np.random.default_rng(0)
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    for name, curves in sets.items():
        is_plain = facts[name]["plain"] > PLAIN
        style = ("--", "tab:orange") if is_plain else ("-", "tab:blue")
        line, colour = style
        left.plot(curves.kimg, early(curves), line, color=colour, alpha=0.7, linewidth=1.2)
    for line, colour, label in (("-", "tab:blue", "full"), ("--", "tab:orange", "plain")):
        left.plot([], [], line, color=colour, label=f"{label} pictures")
    left.axhline(0, color="grey", linewidth=0.8)
    left.set_xlabel("thousand images")
    left.set_ylabel("rank correlation with the last value")
    left.legend(fontsize=8)
    for name, other in itertools.combinations(sets, 2):
        value, error = agreement(sets[name], sets[other], rng)
        gap = abs(facts[name]["plain"] - facts[other]["plain"])
        right.errorbar(gap, value, error, color="tab:blue", alpha=0.4, marker="o", markersize=3)
    right.axhline(0, color="grey", linewidth=0.8)
    right.set_xlabel("difference of the shares of black and white pixels")
    right.set_ylabel("agreement of two sets")
    figure.savefig(path, dpi=110)


def _explained(between: Mapping[tuple[str, str], float]) -> list[str]:
    """Return a table that says which facts about the pictures go with the agreement of sets."""
    facts = set_facts()
    names = list(dict.fromkeys(itertools.chain(*between)))
    keys = list(facts[names[0]])
    lines = [
        "\nWhat the pictures are like (`measure_sets.py`), and the rank correlation, over pairs of "
        "sets, of their agreement with the difference of this number (of its logarithm for the "
        "number of pictures). A negative number says that sets which are alike in this agree. "
        "Pairs share sets, so a number within .2 of 0 says nothing.\n",
        "| set | " + " | ".join(keys) + " |",
        "|---" * (len(keys) + 1) + "|",
        *(
            f"| {name} | " + " | ".join(f"{facts[name][k]:g}" for k in keys) + " |"
            for name in names
        ),
    ]
    cells = []
    for key in keys:
        scale = math.log if key == "pictures" else float
        gaps = [abs(scale(facts[a][key]) - scale(facts[b][key])) for a, b in between]
        cells.append(f"{spearmanr(gaps, list(between.values())).statistic:.2f}")
    return [*lines, "| with agreement | " + " | ".join(cells) + " |"]


def main() -> None:
    """Write the tables."""
    parser = recordings_parser(__doc__)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--plot", type=Path, nargs="?", const=PLOT, help="picture to draw, too")
    options = parser.parse_args()
    found = {name: curves_of(options.folder, name, options.scale) for name in SETS}
    sets = {name: curves for name, curves in found.items() if len(curves.of_point) >= MIN_POINTS}
    if not sets:
        parser.error(f"no set has {MIN_POINTS} recorded points at {options.scale}")
    text = report(sets, options.scale)
    options.out.write_text(text)
    print(text, end="")
    if options.plot:
        plot(sets, options.plot)


if __name__ == "__main__":
    main()
