"""Does what is recorded of other data sets help to predict trainings on a new one?

    PYTHONPATH=benchmarks python benchmarks/library/leave_one_out.py [--scale 32px]

Each set is left out in turn. The process of a search sees a few of its trainings, the published
default among them, and predicts all other recorded configurations: without the other sets, and
with them. Writes results/knowledge.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from design import SETS, search
from make_knowledge import make_library, set_facts, trial
from numpy.typing import NDArray
from record import recorded, recordings_parser

from fastgan_ray.search.curves.choice import fitted
from fastgan_ray.search.curves.features import encode
from fastgan_ray.search.curves.trials import Trial
from fastgan_ray.search.file.spec import SearchSpec, longest_kimg
from fastgan_ray.search.knowledge.responses import Knowledge

Array = NDArray[np.float64]
RESULTS = Path(__file__).resolve().parents[1] / "results" / "knowledge.md"
SEEN = (0, 2, 4, 8)  # trainings
DRAWS = 12  # of the seen trainings
MIN_POINTS = 12  # a set with fewer recorded points is not left out in turn


def trials_of(folder: Path, name: str, scale: str) -> dict[int, list[Trial]]:
    """Return the trainings of a set by the number of their configuration."""
    trials: dict[int, list[Trial]] = {}
    for line in recorded(folder, [name]):
        if line["scale"] == scale:
            trials.setdefault(line["number"], []).append(trial(line))
    return trials


def agreement(
    spec: SearchSpec,
    trials: Mapping[int, Sequence[Trial]],
    knowledge: Knowledge | None,
    count: int,
    seed: int,
) -> float:
    """Return the correlation of predictions and values, over the configurations not seen.

    If none is seen, the predictions are the likely effects that `knowledge` says.
    """
    others = np.random.default_rng(seed).permutation([number for number in trials if number])
    seen = [0, *others][:count]
    asked = [
        same
        for n, same in trials.items()
        if n not in seen and not any(t.is_infeasible for t in same)
    ]
    points = [same[0].point for same in asked]
    predicted = knowledge.likely_effects(points) if knowledge else np.zeros(len(points))
    if seen:
        known = [trials[number][0] for number in seen]
        posterior = fitted(spec.space, known, longest_kimg(spec), None, knowledge)
        predicted = predicted + posterior.means(
            encode(spec.space, points, knowledge), np.zeros(len(points))
        )
    ends = [np.mean([np.log(list(t.values.values())[-1]) for t in same]) for same in asked]
    return float(np.corrcoef(predicted, ends)[0, 1]) if predicted.any() else 0.0


def main() -> None:
    """Write the table."""
    parser = recordings_parser(__doc__)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    spec = search(options.scale)
    found = {name: trials_of(options.folder, name, options.scale) for name in SETS}
    sets = {name: trials for name, trials in found.items() if len(trials) >= MIN_POINTS}
    lines = [
        "# Does what is recorded of other data sets help to predict trainings on a new one?\n",
        f"`PYTHONPATH=benchmarks python benchmarks/library/leave_one_out.py --scale "
        f"{options.scale}`: the correlation of predictions and values over the configurations that "
        f"were not seen, without the other sets → with them; mean of {DRAWS} draws of the seen "
        f"trainings. Left out, with fewer than {MIN_POINTS} configurations: "
        f"{', '.join(name for name in SETS if name not in sets) or 'none'}.\n",
        "| set | configurations | " + " | ".join(f"{count} seen" for count in SEEN) + " |",
        "|---" * (len(SEEN) + 2) + "|",
    ]
    means: list[list[Array]] = []
    for name, trials in sets.items():
        library = make_library(options.scale, options.folder, name)
        knowledge = Knowledge([library], spec, plain=set_facts()[name]["plain"])
        pairs = [
            np.mean(
                [
                    [agreement(spec, trials, known, count, draw) for known in (None, knowledge)]
                    for draw in range(DRAWS)
                ],
                axis=0,
            )
            for count in SEEN
        ]
        means.append(pairs)
        cells = " | ".join(f"{alone:.2f} → {helped:.2f}" for alone, helped in pairs)
        lines.append(f"| {name} | {len(trials)} | {cells} |")
    cells = " | ".join(f"{alone:.2f} → {helped:.2f}" for alone, helped in np.mean(means, axis=0))
    lines.append(f"| mean | | {cells} |")
    text = "\n".join(lines) + "\n"
    options.out.write_text(text)
    print(text, end="")


if __name__ == "__main__":
    main()
