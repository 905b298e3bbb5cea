"""Record the trainings of objectives.yaml: FastGAN against each newer method by itself.

    python benchmarks/library/record_objectives.py [--share 0 --of 2] [--limit N] [--arms N]
    python benchmarks/library/record_objectives.py --table

Appends a line for each training to NAME-OF-SET.jsonl in benchmarks/data/objectives and continues
where the files end: all arms and sets with the first seed, then all with the second, etc. Several
processes may run at once, each with a share of its own. `--arms 6` records only the first six arms
of the file. `--table` writes the verdicts of what is
recorded to results/objective_verdicts.md.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from record import Rows, append, code_version
from scipy.stats import dunnett

from fastgan_ray.errors import DivergedError
from fastgan_ray.search.ablation import AblationSpec, Cell, cell_config, cells
from fastgan_ray.search.file.read_ablation import load_ablation
from fastgan_ray.search.statistics import compare, mean_and_sd
from fastgan_ray.train.loop import train

BENCHMARKS = Path(__file__).resolve().parents[1]
FOLDER = BENCHMARKS / "data" / "objectives"
RESULTS = BENCHMARKS / "results" / "objective_verdicts.md"
METRIC = "fd_efficientnet_lite0"


def record(spec: AblationSpec, cell: Cell) -> dict[str, Any]:
    """Train a cell; return its line."""
    with tempfile.TemporaryDirectory() as folder:
        rows, outcome = Rows(Path(folder)), "finished"
        try:
            train(cell_config(spec, cell), rows)
        except DivergedError as error:
            outcome = f"diverged: {error}"
    return {
        **{"set": cell.data, "arm": cell.arm, "seed": cell.seed},
        "settings": {**spec.base, **spec.arms[cell.arm]},
        "outcome": outcome,
        "cpu_seconds": round(time.process_time() - rows.began, 1),
        "rows": rows.columns(),
        **{"code": code_version(), "torch": torch.__version__},
    }


def recorded(spec: AblationSpec) -> dict[Cell, dict[str, Any]]:
    """Return the lines of all recorded cells whose settings are still those of the file."""
    lines: dict[Cell, dict[str, Any]] = {}
    for name in spec.data:
        path = FOLDER / f"{name}.jsonl"
        for text in path.read_text().splitlines() if path.exists() else []:
            line = json.loads(text)
            if line["settings"] == {**spec.base, **spec.arms.get(line["arm"], {})}:
                lines[Cell(line["arm"], line["set"], line["seed"])] = line
    return lines


def missing(spec: AblationSpec, arms: list[str], share: int, of: int) -> Iterator[Cell]:
    """Yield the cells of a share that are not yet recorded, of these arms only."""
    known = recorded(spec)
    for number, cell in enumerate(cell for cell in cells(spec) if cell.arm in arms):
        if number % of == share and cell not in known:
            yield cell


def table(spec: AblationSpec) -> str:
    """Write the verdicts on each set, by three evaluations of each training.

    These are the evaluation after half of the images, the last and the best. The best of several
    noisy evaluations is too good for every arm alike.
    """
    lines = recorded(spec)
    choices: dict[str, Callable[[list[float]], float]] = {
        "after half of the images": lambda values: values[len(values) // 2 - 1],
        "last evaluation": lambda values: values[-1],
        "best evaluation": min,
    }
    text = [f"# FastGAN and newer methods: {len(lines)} of {len(cells(spec))} trainings\n"]
    for name in spec.data:
        for moment, choose in choices.items():
            values: dict[str, dict[int, float | None]] = defaultdict(dict)
            for cell, line in lines.items():
                if cell.data == name:
                    known = line["rows"].get(METRIC, [])
                    ended = line["outcome"] == "finished" and known
                    values[cell.arm][cell.seed] = choose(known) if ended else None
            if spec.baseline in values:
                ordered = {arm: values[arm] for arm in spec.arms if arm in values}
                text += [f"## {name}, {moment}\n", verdicts(ordered, spec)]
                text += [pooled(ordered, spec.baseline)]
    return "\n".join(text)


def verdicts(values: dict[str, dict[int, float | None]], spec: AblationSpec) -> str:
    """Write a table with the mean, the difference from the baseline and the verdict of each arm."""
    compared = compare(values, spec.baseline, spec.metric.goal)
    lines = [f"| arm | seeds | {METRIC} | difference | p (Holm) | verdict |", "|---|" + 5 * "---|"]
    for arm, by_seed in values.items():
        shown = spread(*mean_and_sd([value for value in by_seed.values() if value is not None]))
        row = [arm, str(len(by_seed)), shown, "", "", "baseline"]
        if arm in compared:
            result = compared[arm]
            difference = result.difference
            if difference.mean is not None and difference.low is not None:
                row[3] = f"{difference.mean:.1f} [{difference.low:.1f}, {difference.high:.1f}]"
            row[4] = "" if result.p_holm is None else f"{result.p_holm:.3f}"
            row[5] = result.verdict
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"


def pooled(values: dict[str, dict[int, float | None]], baseline: str) -> str:
    """Write the changes in percent of the baseline, by Dunnett's test on logarithms.

    Pairs of three seeds give wide intervals. Dunnett's test estimates one standard deviation over
    seeds from all arms together; its intervals hold for all arms at once.
    """
    logs = {
        arm: [math.log(value) for value in by_seed.values() if value is not None]
        for arm, by_seed in values.items()
    }
    known = [arm for arm in logs if len(logs[arm]) > 1]
    arms = [arm for arm in known if arm != baseline]
    if baseline not in known or not arms:
        return ""
    errors = [value - fmean(logs[arm]) for arm in known for value in logs[arm]]
    freedom = len(errors) - len(known)
    seed = 100 * math.sqrt(sum(error**2 for error in errors) / freedom)
    rng = np.random.default_rng(0)  # the quantiles are integrals over random points
    test = dunnett(*(logs[arm] for arm in arms), control=logs[baseline], rng=rng)
    interval = test.confidence_interval(0.95)
    lines = [
        f"Standard deviation over seeds: {seed:.1f} % ({freedom} degrees of freedom).\n",
        "| arm | seeds | change | p (Dunnett) |",
        "|---" * 4 + "|",
    ]
    for arm, low, high, p in zip(arms, interval.low, interval.high, test.pvalue, strict=True):
        change = fmean(logs[arm]) - fmean(logs[baseline])
        percent = [100 * math.expm1(value) for value in (change, low, high)]
        text = f"{percent[0]:+.1f} % [{percent[1]:+.1f}, {percent[2]:+.1f}]"
        lines.append(f"| {arm} | {len(logs[arm])} | {text} | {p:.3f} |")
    return "\n".join(lines) + "\n"


def spread(mean: float | None, sd: float | None) -> str:
    """Format a mean and its standard deviation over seeds; unknown parts are left out."""
    return "" if mean is None else f"{mean:.1f}" + ("" if sd is None else f" ± {sd:.1f}")


def main() -> None:
    """Record what is missing, or write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=int, default=0)
    parser.add_argument("--of", type=int, default=1)
    parser.add_argument("--limit", type=int, help="trainings after which to stop")
    parser.add_argument("--arms", type=int, help="record only so many arms")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    spec = load_ablation(str(BENCHMARKS / "objectives.yaml"))
    if options.table:
        RESULTS.write_text(table(spec))
        print(RESULTS.read_text(), end="")
        return
    arms = list(spec.arms)[: options.arms]
    for count, cell in enumerate(missing(spec, arms, options.share, options.of)):
        if count == options.limit:
            break
        line = record(spec, cell)
        append(FOLDER, line)
        last = line["rows"].get(METRIC, [None])[-1]
        print(
            cell.data, cell.arm, cell.seed, line["outcome"], line["cpu_seconds"], last, flush=True
        )


if __name__ == "__main__":
    main()
